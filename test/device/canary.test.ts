// Attack 53 on the device's side: a session of everything a device can do, and none of what is secret
// in it in anything that the processes write, in an answer that is the gate's own, or in the file.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  ADMIN_TOKEN,
  ANTHROPIC_KEY,
  anthropicScene,
  asked,
  type DeviceScene,
  IDENTITY_KEY,
  messages,
  type Minted,
  SECRET,
} from '../support/anthropic.ts'
import type { CommandEnd } from '../support/binary.ts'
import { bearer, eventually } from '../support/sink.ts'

const DEVICE_ID = 'deviceid-canary-31bd'
const PROMPT = 'prompt-canary-19c2'
const ANSWER = 'answer-canary-e0f3'
const QUERY = 'query-canary-4b6d'
const SESSION = 'session-canary-90aa'
const ORGANISATION = 'anthropic-org-canary-12'

let on: DeviceScene
beforeAll(async () => {
  on = await anthropicScene({ env: { ADMIN_TOKEN, LOG_LEVEL: 'debug' } })
})
afterAll(() => on.close())

/** Answers of the gate's own, whole, but for the token that one of them is there to hand out. */
const own: string[] = []
const commands: CommandEnd[] = []

async function keep(response: Response): Promise<number> {
  own.push(JSON.stringify([...response.headers]) + (await response.text()))
  return response.status
}
async function handedOut(response: Response): Promise<string> {
  const { wrapper_token: token, ...rest } = (await response.json()) as Minted
  own.push(JSON.stringify([...response.headers]) + JSON.stringify(rest))
  return token
}
async function command(...args: string[]): Promise<CommandEnd> {
  const done = await on.command(args)
  commands.push(done)
  return done
}

async function session(): Promise<{ codes: string[]; tokens: string[] }> {
  const { gate, upstream } = on
  const code = (await on.command(['enrol', '--models', 'claude-*', '--org', 'acme'])).stdout.trim()
  const free = (await on.command(['enrol'])).stdout.trim()
  const token = await handedOut(await on.bootstrap(DEVICE_ID, code))
  const unlimited = await handedOut(await on.bootstrap(DEVICE_ID, free))
  expect(await keep(await on.bootstrap(`${DEVICE_ID}-2`, code))).toBe(403)
  expect(await keep(await on.bootstrap(DEVICE_ID))).toBe(403)
  expect(await keep(await on.bootstrap(`${DEVICE_ID}\u0000`, code))).toBe(400)

  const body = JSON.stringify({ ...asked, messages: [{ role: 'user', content: PROMPT }] })
  const headers = { 'x-claude-code-session-id': SESSION, cookie: SESSION, 'user-agent': SESSION }
  const ask = (by: string, sent = body, more: object = {}): Promise<Response> =>
    messages(gate, by, sent, { ...headers, ...more }, `/v1/messages?${QUERY}=${QUERY}`)
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'anthropic-organization-id': ORGANISATION })
    response.end(JSON.stringify({ content: ANSWER, usage: { input_tokens: 1, output_tokens: 2 } }))
  })
  for (const by of [token, unlimited]) expect(await (await ask(by)).text()).toContain(ANSWER)
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(`event: ping\ndata: ${ANSWER}\n\n`)
    setTimeout(() => response.destroy(), 5)
  })
  const broken = await ask(token)
  const from = gate.lines().length
  await eventually(async () =>
    gate
      .lines()
      .slice(from - 1)
      .some(({ end }) => end === 'upstream_error'),
  )
  await broken.body?.cancel()
  for (const status of [301, 401, 403]) {
    const echo = { 'x-echo': ANTHROPIC_KEY, location: `https://${QUERY}.test/` }
    upstream.respond((_request, response) => {
      response.writeHead(status, echo).end(ANTHROPIC_KEY + ANSWER)
    })
    expect(await keep(await ask(token))).toBe(502)
  }
  upstream.respond((_request, response) => void response.destroy())
  expect(await keep(await ask(token))).toBe(502)

  const bodies = [
    body.replace(asked.model, `gpt-${PROMPT}`.replace('canary', 'c')),
    `{"model":"${PROMPT}","model":"${PROMPT}"}`,
    `${PROMPT}`,
    JSON.stringify({ model: `${PROMPT} ` }),
  ]
  for (const each of bodies) expect(await keep(await ask(token, each))).toBeOneOf([400, 404])
  expect(await keep(await ask(token, body, { 'content-encoding': 'gzip' }))).toBe(400)
  for (const bad of [`${token}x`, `sk-ant-proxy-${code}`, token.split('.').slice(0, 2).join('.')]) {
    expect(await keep(await ask(bad))).toBe(401)
  }
  expect(await keep(await ask(token, body, { 'x-api-key': unlimited }))).toBe(400)
  expect(await keep(await fetch(`${gate.url}/v1/models?access_token=${token}`))).toBe(401)

  const second = await handedOut(await on.refresh(token))
  const third = await handedOut(await on.refresh(second))
  for (const path of ['usage', 'stats']) {
    expect(await keep(await fetch(`${gate.url}/admin/${path}`, { headers: bearer(third) }))).toBe(
      200,
    )
    const all = await fetch(`${gate.url}/admin/${path}`, { headers: bearer(ADMIN_TOKEN) })
    expect(await keep(all)).toBe(200)
  }
  const devices = await fetch(`${gate.url}/admin/devices`, { headers: bearer(ADMIN_TOKEN) })
  expect(await keep(devices)).toBe(200)
  await command('enrol', '--list')
  await command('usage', '--json')
  expect((await command('revoke', DEVICE_ID)).exitCode).toBe(0)
  expect((await command('revoke', `${DEVICE_ID}-2`)).exitCode).toBe(1)
  await eventually(async () => (await ask(third)).status === 401)
  expect(await keep(await on.refresh(third))).toBe(401)
  expect(await keep(await on.refresh(token))).toBe(401)
  return { codes: [code, free], tokens: [token, unlimited, second, third] }
}

test("a device's session leaves none of its secrets behind", async () => {
  const { codes, tokens } = await session()
  const last = crypto.randomUUID()
  await fetch(`${on.gate.url}/nowhere`, { headers: { 'x-request-id': last } })
  await on.gate.logged(last)
  // Rows are written in batches.
  await Bun.sleep(700)

  const parts = tokens.flatMap((token) => {
    const [, claims = '', signature = ''] = token.split('.')
    return [token.slice(0, 36), claims.slice(0, 40), claims.slice(-40), signature]
  })
  const hashes = tokens.map((each) => new Bun.CryptoHasher('sha256').update(each).digest('hex'))
  const words = [ANTHROPIC_KEY, SECRET, IDENTITY_KEY, ADMIN_TOKEN, PROMPT, ANSWER, QUERY, SESSION]
  const ids = [
    DEVICE_ID,
    ...codes,
    ...codes.map((code) => code.slice('postern-code-'.length)),
    ORGANISATION,
  ]
  const coded = [...words, ...ids].flatMap((word) => [
    Buffer.from(word).toString('base64').replace(/=+$/, '').slice(0, -1),
    Buffer.from(word).toString('hex'),
  ])
  const secrets = [...words, ...ids, ...coded, ...parts, ...hashes, '$bunfs', '.ts:']
  const found = (text: string): string[] => secrets.filter((secret) => text.includes(secret))

  expect(on.gate.lines().length).toBeGreaterThan(30)
  expect(found(on.gate.output())).toEqual([])
  expect(on.gate.errors()).toBe('')
  expect(own.length).toBeGreaterThan(20)
  expect(found(own.join('\n'))).toEqual([])
  expect(commands).toHaveLength(4)
  expect(found(commands.map(({ stdout, stderr }) => stdout + stderr).join('\n'))).toEqual([])

  // A device's id is kept nowhere in the file: enrolment has two HMACs of it, and no more.
  const files = readdirSync(on.folder)
  expect(files).toContain('postern.db')
  const bytes = files.map((name) => readFileSync(join(on.folder, name)).toString('latin1')).join('')
  expect(bytes.length).toBeGreaterThan(10_000)
  expect(found(bytes)).toEqual([])

  // And that the search would have found them: what may be kept is there.
  const { sub = '', family = '' } = JSON.parse(
    Buffer.from(tokens[0]?.split('.')[1] ?? '', 'base64url').toString(),
  ) as Record<string, string>
  for (const text of [on.gate.output(), bytes]) expect(text).toContain(sub)
  expect(bytes).toContain(family)
  expect(own.join()).toContain(family)
})
