// Attack 34: who may enrol a device, and with what. Codes are good for as often and as long as they
// say; a user's JWT enrols what its claims grant; `open` is capped.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import {
  anthropicScene,
  type DeviceScene,
  messages,
  type Minted,
  refusalOf,
} from '../support/anthropic.ts'
import { bearer } from '../support/sink.ts'

const claimsOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as never
const mintedBy = async (response: Response): Promise<Minted> => response.json() as never

describe('by a code', () => {
  let on: DeviceScene
  beforeAll(async () => {
    on = await anthropicScene()
  })
  afterAll(() => on.close())

  test('none is 403, a wrong one too, and neither says which', async () => {
    const code = await on.code()
    const wrong = `${code.slice(0, -1)}${code.endsWith('A') ? 'B' : 'A'}`
    for (const each of [undefined, 'x', wrong, code.toUpperCase(), `${code} `, 'code:1']) {
      expect([each, await refusalOf(await on.bootstrap('d', each))]).toEqual([
        each,
        '403 permission_error',
      ])
    }
    expect((await on.bootstrap('d', code)).status).toBe(200)
  })

  test('is good once: of fifty at the same time one wins', async () => {
    const code = await on.code()
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, at) => on.bootstrap(`d${at}`, code)),
    )
    expect(all.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(all.filter(({ status }) => status === 403)).toHaveLength(49)
    expect(await refusalOf(await on.bootstrap('again', code))).toBe('403 permission_error')
  })

  test('is good as often as --uses says', async () => {
    const code = await on.code('--uses', '3')
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, at) => on.bootstrap(`d${at}`, code)),
    )
    expect(all.filter(({ status }) => status === 200)).toHaveLength(3)
  })

  test('is nothing once it has expired', async () => {
    const code = await on.code('--expires', '1m')
    const database = new Database(on.databaseFile)
    database.run('PRAGMA busy_timeout = 5000')
    database.run(
      'UPDATE enrolment_codes SET expires_at = ? WHERE id = (SELECT max(id) FROM enrolment_codes)',
      [Date.now() / 1000 - 1],
    )
    database.close()
    expect(await refusalOf(await on.bootstrap('late', code))).toBe('403 permission_error')
    expect((await on.command(['enrol', '--list'])).stdout).toContain('expired')
  })

  test('the device gets its terms', async () => {
    const flags = ['--models', 'claude-haiku-*,claude-opus-4-6', '--rate-limit', '7']
    const token = await on.device(...flags, '--spend-cap', '12.5', '--org', 'acme', '--user', 'u1')
    expect(claimsOf(token)).toMatchObject({
      models: ['claude-haiku-*', 'claude-opus-4-6'],
      rate_limit: 7,
      spend_cap: 12.5,
      org_id: 'acme',
      user_id: 'u1',
      iss: expect.any(String),
      aud: expect.any(String),
      jti: expect.stringMatching(/^tok_/),
      family: expect.stringMatching(/^fam_/),
    })
  })

  test('with a body that has a member twice, or is not JSON, is 400 and stays good', async () => {
    const code = await on.code()
    const bodies = [
      `{"device_id":"a","device_id":"b","enrollment_code":"${code}"}`,
      `{"device_id":"a","enrollment_code":"${code}","enrollment_code":"x"}`,
      `device_id=a&enrollment_code=${code}`,
      `["a","${code}"]`,
      `{"device_id":"a","enrollment_code":["${code}"]}`,
      `{"device_id":"a","app_version":{},"enrollment_code":"${code}"}`,
      '',
    ]
    for (const body of bodies) {
      const response = await fetch(`${on.gate.url}/bootstrap`, { method: 'POST', body })
      expect([body, await refusalOf(response)]).toEqual([body, '400 invalid_request_error'])
    }
    expect((await on.bootstrap('a', code)).status).toBe(200)
  })

  test('two that differ are 400', async () => {
    const [first, second] = [await on.code(), await on.code()]
    const response = await fetch(`${on.gate.url}/bootstrap`, {
      method: 'POST',
      headers: bearer(first),
      body: JSON.stringify({ device_id: 'a', enrollment_code: second }),
    })
    expect(await refusalOf(response)).toBe('400 invalid_request_error')
  })
})

test("by a user's JWT: grants what the claims allow, and only to users", async () => {
  const on = await anthropicScene({ users: true, env: { BOOTSTRAP: 'jwt' } })
  try {
    const enrol = (headers: Readonly<Record<string, string>>, id = 'd'): Promise<Response> =>
      fetch(`${on.gate.url}/bootstrap`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ device_id: id, models: ['*'], rate_limit: 9 }),
      })
    expect(await refusalOf(await enrol({}))).toBe('403 permission_error')
    expect(await refusalOf(await enrol(bearer('a.b.c')))).toBe('401 authentication_error')
    const noScope = (await on.issuer?.token({ scope: 'openid' })) ?? ''
    expect(await refusalOf(await enrol(bearer(noScope)))).toBe('403 permission_error')
    const wrong = (await on.issuer?.token({ sub: 'u2', rate_limit: 'many' })) ?? ''
    expect(await refusalOf(await enrol(bearer(wrong)))).toBe('403 permission_error')

    const user = (await on.issuer?.token({ models: ['claude-haiku-*'], org_id: 'acme' })) ?? ''
    const { wrapper_token: token } = await mintedBy(await enrol(bearer(user)))
    expect(claimsOf(token)).toMatchObject({ models: ['claude-haiku-*'], org_id: 'acme' })
    expect(claimsOf(token)['rate_limit']).toBeUndefined()
    expect(JSON.stringify(claimsOf(token))).not.toContain('test-user')
    // A device's token enrols no further device.
    expect(await refusalOf(await enrol(bearer(token)))).toBe('401 authentication_error')

    // Each device has limits of its own, so that their number is bounded: ten for a user.
    const more = await Promise.all(
      Array.from({ length: 15 }, (_, at) => enrol(bearer(user), `d${at}`)),
    )
    expect(more.filter(({ status }) => status === 200)).toHaveLength(9)
    expect(more.filter(({ status }) => status === 429)).toHaveLength(6)
  } finally {
    await on.close()
  }
})

describe('open', () => {
  let on: DeviceScene
  beforeAll(async () => {
    on = await anthropicScene({
      env: {
        BOOTSTRAP: 'open',
        DEVICE_MODELS: 'claude-haiku-*',
        DEVICE_RATE_LIMIT: '3',
        DEVICE_SPEND_CAP: '1.5',
      },
    })
  })
  afterAll(() => on.close())

  test('1000 devices from one address: ten enrol, and the others learn when to retry', async () => {
    const all = await Promise.all(Array.from({ length: 1000 }, (_, at) => on.bootstrap(`d${at}`)))
    const granted = all.filter(({ status }) => status === 200)
    expect(granted).toHaveLength(10)
    const refused = all.filter(({ status }) => status === 429)
    expect(refused).toHaveLength(990)
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeWithin(1, 3601)
    expect(await refusalOf(refused[0] as Response)).toBe('429 rate_limit_error')

    const { wrapper_token: token } = await mintedBy(granted[0] as Response)
    expect(claimsOf(token)).toMatchObject({
      models: ['claude-haiku-*'],
      rate_limit: 3,
      spend_cap: 1.5,
    })
    expect((await messages(on.gate, token)).status).toBe(404)
  })
})

test('/bootstrap and /refresh count each address, before they look at anything', async () => {
  const on = await anthropicScene({ env: { PUBLIC_RATE_LIMIT_RPM: '60', RATE_LIMIT_BURST: '4' } })
  try {
    const statuses = await Promise.all(
      Array.from({ length: 12 }, (_, at) =>
        (at % 2 === 0 ? on.bootstrap('d', 'guess') : on.refresh('guess')).then((r) => r.status),
      ),
    )
    expect(statuses.filter((status) => status === 429)).toHaveLength(8)
  } finally {
    await on.close()
  }
})
