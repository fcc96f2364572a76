// Programs beside one another on one device, with the client library, the commands of the binary and
// the compiled gate: renewing kills none of them, and a revocation is noticed by all.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Status } from '../../src/client/api.ts'
import { connect } from '../../src/client/client.ts'
import { session } from '../../src/client/session.ts'
import { fileStorage } from '../../src/client/storage.ts'
import { TEMPO } from '../../src/client/tempo.ts'
import { anthropicScene, type DeviceScene, messages } from '../support/anthropic.ts'
import { runToEnd, until } from '../support/binary.ts'
import { eventually } from '../support/sink.ts'

let on: DeviceScene
let folder: string
beforeAll(async () => {
  on = await anthropicScene()
  folder = mkdtempSync(join(tmpdir(), 'postern-children-'))
})
afterAll(async () => {
  await on.close()
  rmSync(folder, { recursive: true, force: true })
})

const alive = async (token: string): Promise<boolean> => (await messages(on.gate, token)).ok
const home = (name: string): Record<string, string> => ({
  POSTERN_GATE: on.gate.url,
  XDG_DATA_HOME: join(folder, name),
})
const tokenOf = async (env: Record<string, string>, ...flags: string[]): Promise<string> => {
  const { exitCode, stdout, stderr } = await runToEnd(['token', ...flags], env, folder)
  if (exitCode !== 0) throw new Error(stderr)
  return stdout.trim()
}

test('a child that was given a token goes on with it while others renew, ten times over', async () => {
  const storage = fileStorage(join(folder, 'app'))
  const gate = await connect({
    baseUrl: on.gate.url,
    enrollment: await on.code(),
    storage,
    background: false,
  })
  const given = await gate.environment()
  const child = given.ok ? given.value.ANTHROPIC_AUTH_TOKEN : ''
  const children = [child]
  for (let n = 0; n < 4; n += 1) {
    const next = await gate.refreshNow()
    children.push(next.ok ? next.value : '')
  }
  expect(new Set(children).size).toBe(5)
  for (const each of children) expect(await alive(each)).toBe(true)
  gate.stop()
})

test('two commands, a helper and the client on one store: no family ends by their honest races', async () => {
  const env = home('shared')
  const first = await tokenOf({ ...env, POSTERN_CODE: await on.code() })
  const storage = fileStorage(join(folder, 'shared', 'postern'))
  const gate = await connect({ baseUrl: on.gate.url, storage, background: false })
  const print = 'process.stdout.write(process.env.ANTHROPIC_AUTH_TOKEN)'
  const all = await Promise.all([
    tokenOf(env, '--refresh'),
    tokenOf(env),
    gate.refreshNow().then((next) => (next.ok ? next.value : next.problem.code)),
    ...[1, 2].map(async () => {
      const done = await runToEnd(['exec', '--', process.execPath, '-e', print], env, folder)
      return done.stdout
    }),
  ])
  for (const each of [first, ...all]) expect(await alive(each)).toBe(true)
  expect(await alive(await tokenOf(env, '--refresh'))).toBe(true)
  gate.stop()
})

test('revoked while the client runs: reported within a minute, and enrolled again with a new code', async () => {
  let run = (): void => {}
  const delays: number[] = []
  const tempo = {
    ...TEMPO,
    later(delayMs: number, work: () => void) {
      delays.push(delayMs)
      run = work
      return () => {}
    },
  }
  const told: Status[] = []
  let code: string | undefined = await on.code('--label', 'lost')
  const gate = session(
    {
      baseUrl: on.gate.url,
      enrollment: () => code,
      storage: fileStorage(join(folder, 'told')),
      onStatus: (status) => told.push(status),
    },
    tempo,
  )
  await gate.start()
  const token = await gate.token()
  code = undefined
  const id = await gate.deviceId()
  await on.command(['revoke', id.ok ? id.value : ''])
  await eventually(async () => !(await alive(token.ok ? token.value : '')), 1000)
  expect(delays.at(-1)).toBeLessThanOrEqual(60_000)
  run()
  await until(() => told.at(-1)?.state === 'unavailable')
  expect(told.at(-1)).toMatchObject({
    problem: { code: 'enrollment_refused', message: expect.stringContaining('was revoked') },
  })
  expect((await gate.environment()).ok).toBe(false)
  code = await on.code()
  run()
  await until(() => told.at(-1)?.state === 'ready')
  const next = await gate.token()
  expect(await alive(next.ok ? next.value : '')).toBe(true)
  gate.stop()
})

test('revoked between two runs: `postern token` and `exec` say so, and enrol where they have a code', async () => {
  const env = home('cli')
  const first = await tokenOf({ ...env, POSTERN_CODE: await on.code('--label', 'cli-laptop') })
  const family = JSON.parse(Buffer.from(first.split('.')[1] ?? '', 'base64url').toString()).family
  await on.command(['revoke', family])
  await eventually(async () => !(await alive(first)), 1000)
  for (const words of [['token'], ['exec', '--', 'true']]) {
    const { exitCode, stdout, stderr } = await runToEnd(words, env, folder)
    expect([exitCode, stdout]).toEqual([77, ''])
    expect(stderr).toContain('this device was revoked at the gate')
  }
  const wrong = await runToEnd(['token'], { ...env, POSTERN_CODE: 'nonsense' }, folder)
  expect(wrong.stderr).toContain('did not accept the enrolment')
  const print = 'process.stdout.write(process.env.ANTHROPIC_AUTH_TOKEN)'
  const again = await runToEnd(
    ['exec', '--', process.execPath, '-e', print],
    { ...env, POSTERN_CODE: await on.code() },
    folder,
  )
  expect(again.exitCode).toBe(0)
  expect(await alive(again.stdout)).toBe(true)
})
