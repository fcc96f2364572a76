import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import type { ServerResponse } from 'node:http'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import type { ConnectOptions, Status, Storage } from '../../src/client/api.ts'
import { connect } from '../../src/client/client.ts'
import { session } from '../../src/client/session.ts'
import { fileStorage, memoryStorage } from '../../src/client/storage.ts'
import { until } from '../support/binary.ts'
import { type FakeGate, startFakeGate } from './fake-gate.ts'
import { PATIENCE_MS } from '../support/patience.ts'
import { FAST, folder, manual } from './scene.ts'

const HOUR_MS = 3_600_000
let gate: FakeGate
let kept: ReturnType<typeof folder>

beforeEach(async () => {
  gate = await startFakeGate()
  kept = folder()
})
afterEach(async () => {
  await gate.close()
  kept.remove()
})

const options = (more: Partial<ConnectOptions> = {}): ConnectOptions => ({
  baseUrl: gate.url,
  storage: fileStorage(kept.path),
  background: false,
  ...more,
})

describe('the first run', () => {
  test('enrols with the code as a bearer, and gives an environment', async () => {
    gate.codes = new Set(['code-1'])
    const client = await connect(options({ enrollment: 'code-1', appVersion: '1.2.3' }))
    expect(client.status.state).toBe('ready')
    const environment = await client.environment()
    if (!environment.ok) throw new Error(environment.problem.code)
    expect(environment.value.ANTHROPIC_BASE_URL).toBe(gate.url)
    expect(gate.issued.has(environment.value.ANTHROPIC_AUTH_TOKEN)).toBe(true)
    const asked = gate.asks.find(({ path }) => path === '/bootstrap')
    expect(asked?.authorization).toBe('Bearer code-1')
    const id = await client.deviceId()
    expect(JSON.parse(asked?.body ?? '')).toEqual({
      device_id: id.ok && id.value,
      app_version: '1.2.3',
    })
  })

  test('asks for health first, and for nothing more if the gate is unhealthy', async () => {
    gate.healthy = false
    const client = await connect(options())
    expect(client.status).toMatchObject({ state: 'unavailable', problem: { code: 'unhealthy' } })
    expect(await client.environment()).toMatchObject({ ok: false, problem: { status: 503 } })
    expect(gate.asks.every(({ path }) => path === '/healthz')).toBe(true)
  })

  test('a second run uses the kept token, and the same device id', async () => {
    const first = await connect(options())
    const second = await connect(options())
    expect(await second.token()).toEqual(await first.token())
    expect(await second.deviceId()).toEqual(await first.deviceId())
    expect(gate.count('/bootstrap')).toBe(1)
  })

  test('a gate that enrols nobody is a result, not an exception', async () => {
    gate.codes = new Set()
    const client = await connect(options({ enrollment: 'spent' }))
    expect(client.status).toMatchObject({
      state: 'unavailable',
      problem: { code: 'enrollment_refused', status: 403 },
    })
  })

  test('a storage that cannot be written spends no code', async () => {
    gate.codes = new Set(['code-1'])
    const storage: Storage = {
      ...memoryStorage(),
      set: () => Promise.reject(new Error('ENOSPC')),
    }
    const client = await connect(options({ enrollment: 'code-1', storage }))
    expect(client.status).toMatchObject({ problem: { code: 'storage_failed' } })
    expect(gate.codes.size).toBe(1)
  })

  test.each(['ftp://x', 'http://example.com', 'http://user:pw@127.0.0.1', 'https://x/?q', 'x', ''])(
    'no token may be sent to %p',
    async (baseUrl) => {
      const refused = connect(options({ baseUrl })).catch((error: unknown) => error)
      const error = await refused
      expect(error).toBeInstanceOf(TypeError)
      expect(String(error)).not.toContain('pw')
    },
  )
})

describe('renewal', () => {
  test('a token with more than an hour left is not refreshed; with less it is', async () => {
    const scene = manual()
    const client = session(options(), scene.tempo)
    const first = await client.token()
    scene.aheadMs = gate.aheadMs = 22.9 * HOUR_MS
    expect(await client.token()).toEqual(first)
    expect(gate.count('/refresh')).toBe(0)
    scene.aheadMs = gate.aheadMs = 23.1 * HOUR_MS
    const next = await client.token()
    expect(next).not.toEqual(first)
    expect(gate.count('/refresh')).toBe(1)
    expect(gate.families).toBe(1)
  })

  test('while the gate is down the present token goes on until it expires', async () => {
    const scene = manual()
    const client = session(options(), scene.tempo)
    const first = await client.token()
    scene.aheadMs = gate.aheadMs = 23.5 * HOUR_MS
    gate.healthy = false
    expect(await client.token()).toEqual(first)
    expect(client.status).toMatchObject({ state: 'degraded', problem: { code: 'unhealthy' } })
    const asks = gate.asks.length
    expect(await client.token()).toEqual(first)
    expect(gate.asks.length).toBe(asks)
    scene.aheadMs = gate.aheadMs = 24.1 * HOUR_MS
    expect((await client.token()).ok).toBe(false)
    expect(client.status.state).toBe('unavailable')
    gate.healthy = true
    expect((await client.token()).ok).toBe(true)
    expect(client.status.state).toBe('ready')
  })

  test('a refresh that is refused falls back to bootstrap', async () => {
    const client = session(options(), FAST)
    await client.token()
    gate.revoked.add(1)
    const next = await client.refreshNow()
    expect(next.ok && gate.issued.get(next.value)?.family).toBe(2)
  })

  test('one that another process replaced meanwhile is no reason to enrol again', async () => {
    const storage = memoryStorage()
    const client = session(options({ storage }), FAST)
    await client.token()
    const other = session(options({ storage }), FAST)
    let done = false
    gate.fate = () => {
      if (done) return 'answer'
      done = true
      return async (response) => {
        await other.refreshNow()
        response.writeHead(401).end('{}')
      }
    }
    const next = await client.refreshNow()
    expect(next.ok).toBe(true)
    expect(await other.token()).toEqual(next)
    expect(gate.count('/bootstrap')).toBe(1)
  })

  test('a caller that wants an environment asks a recovered gate at once', async () => {
    const scene = manual()
    const client = session(options(), scene.tempo)
    const first = await client.token()
    scene.aheadMs = gate.aheadMs = 23.5 * HOUR_MS
    gate.healthy = false
    expect((await client.environment()).ok).toBe(false)
    expect(client.status.state).toBe('degraded')
    gate.healthy = true
    const environment = await client.environment()
    expect(client.status.state).toBe('ready')
    expect(environment.ok && environment.value.ANTHROPIC_AUTH_TOKEN).not.toBe(
      first.ok && first.value,
    )
  })

  test('a refresh that fails for the network does not', async () => {
    const client = session(options(), FAST)
    const first = await client.token()
    gate.fate = () => (response) => response.writeHead(500).end('{}')
    expect(await client.refreshNow()).toMatchObject({ ok: false, problem: { code: 'unhealthy' } })
    expect(gate.count('/bootstrap')).toBe(1)
    expect(await client.token()).toEqual(first)
  })

  test('a token that neither refresh nor bootstrap will have is handed out no more', async () => {
    gate.codes = new Set(['code-1'])
    const client = session(options({ enrollment: 'code-1' }), FAST)
    await client.token()
    gate.revoked.add(1)
    expect(await client.refreshNow()).toMatchObject({ problem: { code: 'enrollment_refused' } })
    expect(client.status.state).toBe('unavailable')
    expect((await client.token()).ok).toBe(false)
    gate.codes.add('code-1')
    expect((await client.token()).ok).toBe(true)
  })

  test('an enrolment function is called each time, and may throw', async () => {
    gate.codes = new Set(['b'])
    const codes = ['a', 'b']
    const client = session(options({ enrollment: async () => codes.shift() }), FAST)
    expect((await client.token()).ok).toBe(false)
    expect((await client.token()).ok).toBe(true)
    const thrower = session(
      options({ storage: memoryStorage(), enrollment: () => Promise.reject(new Error('canary')) }),
      FAST,
    )
    expect(await thrower.token()).toMatchObject({ problem: { code: 'enrollment_refused' } })
  })

  test('a code that is no bearer token never becomes a header', async () => {
    const client = session(options({ enrollment: 'a\r\nx-injected: 1' }), FAST)
    expect(await client.token()).toMatchObject({ problem: { code: 'enrollment_refused' } })
    expect(gate.count('/bootstrap')).toBe(0)
  })

  test('a corrupted file is started again from, and the device stays itself', async () => {
    const client = await connect(options())
    const id = await client.deviceId()
    const name = readdirSync(kept.path).find((file) => file.startsWith('grant-')) ?? ''
    for (const junk of ['', '{', '{"version":1}', '\0'.repeat(100), 'x'.repeat(200_000)]) {
      writeFileSync(`${kept.path}/${name}`, junk)
      const again = await connect(options())
      expect(again.status.state).toBe('ready')
      expect(await again.deviceId()).toEqual(id)
    }
    expect(gate.count('/bootstrap')).toBe(6)
  })

  test('a token of one gate is never shown to another', async () => {
    const client = await connect(options())
    const first = await client.token()
    const other = await startFakeGate()
    const elsewhere = await connect(options({ baseUrl: other.url }))
    expect((await elsewhere.token()).ok).toBe(true)
    const shown = JSON.stringify(other.asks)
    expect(first.ok && shown.includes(first.value)).toBe(false)
    await other.close()
  })

  test('forget deletes the token and stops', async () => {
    const client = await connect(options())
    expect(await client.forget()).toEqual({ ok: true, value: undefined })
    expect(client.status.state).toBe('stopped')
    expect(await client.token()).toMatchObject({ problem: { code: 'stopped' } })
    expect(readdirSync(kept.path)).toEqual(['device-id'])
  })

  test("the gate's token outlives a full disk", async () => {
    const inner = memoryStorage()
    let full = false
    const storage: Storage = {
      ...inner,
      set: (name, value) =>
        full && !value.includes('refreshSentAtMs')
          ? Promise.reject(new Error('ENOSPC'))
          : inner.set(name, value),
    }
    const client = session(options({ storage }), FAST)
    await client.token()
    full = true
    const next = await client.refreshNow()
    expect(next.ok).toBe(true)
    expect(client.status).toMatchObject({ state: 'degraded', problem: { code: 'storage_failed' } })
    expect(await client.token()).toEqual(next)
    full = false
    expect(await client.token()).toEqual(next)
    expect(await session(options({ storage }), FAST).token()).toEqual(next)
    expect(gate.reuses).toBe(0)
  })
})

describe('a lost answer never revokes the family', () => {
  beforeEach(() => {
    gate.graceMs = 1000
  })

  test.each(['lost', 'hang'] as const)('once (%s): asked again within the grace', async (fate) => {
    gate.graceMs = PATIENCE_MS
    // One that a busy machine answers too late is asked once more.
    const client = session(options(), {
      ...FAST,
      resendWithinMs: PATIENCE_MS,
      ...(fate === 'hang' && { refreshTimeoutMs: 300 }),
    })
    await client.token()
    let times = 0
    gate.fate = () => (times++ === 0 ? fate : 'answer')
    expect((await client.refreshNow()).ok).toBe(true)
    expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 1, reuses: 0 })
  })

  test('for good: enrols again, and never sends the doubtful token', async () => {
    const scene = manual()
    const client = session(options(), scene.tempo)
    await client.token()
    gate.fate = ({ path }) => (path === '/refresh' ? 'lost' : 'answer')
    expect((await client.refreshNow()).ok).toBe(false)
    const shown = gate.count('/refresh')
    expect(shown).toBeGreaterThan(1)
    scene.aheadMs = gate.aheadMs = 60_000
    gate.fate = () => 'answer'
    expect((await client.refreshNow()).ok).toBe(true)
    expect(gate.count('/refresh')).toBe(shown)
    expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 2, reuses: 0 })
  })

  test('by a process that died with the answer: the next one knows', async () => {
    const scene = manual()
    const storage = memoryStorage()
    const dying: Storage = {
      ...storage,
      set: (name, value) =>
        name.startsWith('grant') && !value.includes('refreshSentAtMs') && gate.count('/refresh') > 0
          ? new Promise(() => {})
          : storage.set(name, value),
    }
    const first = session(options({ storage: dying }), scene.tempo)
    await first.token()
    void first.refreshNow()
    await until(() => gate.count('/refresh') > 0)
    scene.aheadMs = gate.aheadMs = 3_600_000
    const next = session(options({ storage }), scene.tempo)
    expect((await next.refreshNow()).ok).toBe(true)
    expect(gate.reuses).toBe(0)
  })

  test('a gate that does not know the request is asked again much later', async () => {
    const scene = manual()
    gate.codes = new Set(['code-1'])
    const client = session(options({ enrollment: 'code-1' }), scene.tempo)
    const first = await client.token()
    gate.fate = ({ path }) =>
      path === '/refresh' ? (response) => response.writeHead(502).end() : 'answer'
    expect((await client.refreshNow()).ok).toBe(false)
    gate.fate = () => 'answer'
    scene.aheadMs = gate.aheadMs = 3_600_000
    const next = await client.refreshNow()
    expect(next.ok).toBe(true)
    expect(next).not.toEqual(first)
    expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 1, reuses: 0 })
  })

  test('two copies of one storage: the second to renew ends no family, and goes on to its end', async () => {
    const scene = manual()
    gate.codes = new Set(['code-1'])
    const [storage, copy] = [memoryStorage(), memoryStorage()]
    const client = session(options({ storage, enrollment: 'code-1' }), scene.tempo)
    const first = await client.token()
    const { createHash } = await import('node:crypto')
    const digest = createHash('sha256').update(gate.url).digest('hex').slice(0, 32)
    for (const name of [`grant-${digest}`, 'device-id']) {
      await copy.set(name, (await storage.get(name)) ?? '')
    }
    const other = session(options({ storage: copy, enrollment: 'code-1' }), scene.tempo)
    scene.aheadMs = gate.aheadMs = 23.1 * HOUR_MS
    const next = await client.token()
    expect(next).not.toEqual(first)
    scene.aheadMs = gate.aheadMs = 23.2 * HOUR_MS
    expect(await other.token()).toEqual(first)
    expect(other.status).toMatchObject({
      state: 'degraded',
      problem: { message: expect.stringContaining('has already issued') },
    })
    expect((await other.refreshNow()).ok).toBe(false)
    expect(await client.token()).toEqual(next)
    expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 1, reuses: 0 })
    // A code of its own makes it a device of its own.
    gate.codes.add('code-1')
    expect((await other.refreshNow()).ok).toBe(true)
    expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 2, reuses: 0 })
  })

  test('a gate that cannot say, and a spent code: good to the end, then the last resort', async () => {
    const scene = manual()
    gate.device = 'absent'
    gate.codes = new Set(['code-1'])
    const client = session(options({ enrollment: 'code-1' }), scene.tempo)
    const first = await client.token()
    // It never reached the gate, but nobody can know: the answer came from something before it.
    gate.fate = ({ path }) =>
      path === '/refresh' ? (response) => response.writeHead(502).end() : 'answer'
    scene.aheadMs = gate.aheadMs = 23.1 * HOUR_MS
    expect(await client.token()).toEqual(first)
    gate.fate = () => 'answer'
    scene.aheadMs = gate.aheadMs = 23.5 * HOUR_MS
    const shown = gate.count('/refresh')
    expect(await client.token()).toEqual(first)
    expect(client.status).toMatchObject({
      state: 'degraded',
      problem: { code: 'enrollment_refused' },
    })
    expect(gate.count('/refresh')).toBe(shown)
    scene.aheadMs = gate.aheadMs = 23.95 * HOUR_MS
    const last = await client.token()
    expect(last.ok && last).not.toEqual(first)
    expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 1, reuses: 0 })
  })

  test('a gate that was never reached leaves no doubt', async () => {
    const client = session(options(), FAST)
    await client.token()
    gate.goneAfterHealth = true
    expect(await client.refreshNow()).toMatchObject({ problem: { code: 'unreachable' } })
    const grant = readdirSync(kept.path).find((file) => file.startsWith('grant-')) ?? ''
    expect(await Bun.file(`${kept.path}/${grant}`).text()).not.toContain('refreshSentAtMs')
  })
})

describe('in the background', () => {
  test('every minute whether the token is good; every 30 minutes more; refreshes in the last hour; tells each change', async () => {
    const scene = manual()
    const told: Status[] = []
    const client = session(
      options({ background: true, onStatus: (status) => told.push(status) }),
      scene.tempo,
    )
    await client.start()
    const looks = gate.count('/healthz')
    for (let minute = 0; minute < 26; minute += 1) {
      scene.aheadMs = gate.aheadMs = minute * 60_000
      scene.runNext()
      await until(() => scene.pending() === 1)
    }
    expect(Math.max(...scene.delays)).toBeLessThanOrEqual(60_000)
    expect(Math.min(...scene.delays)).toBeGreaterThanOrEqual(30_000)
    expect([gate.count('/device'), gate.count('/healthz')]).toEqual([26, looks])
    scene.delays.length = 1
    scene.aheadMs = gate.aheadMs = 23.5 * HOUR_MS
    scene.runNext()
    await until(() => scene.pending() === 1)
    expect(gate.count('/refresh')).toBe(1)
    gate.healthy = false
    for (let step = 1; step <= 12; step += 1) {
      scene.runNext()
      await until(() => scene.pending() === 1)
    }
    const backoffs = scene.delays.slice(2)
    const first = backoffs[0] ?? 0
    expect(first).toBeLessThanOrEqual(5000)
    expect(Math.max(...backoffs)).toBeLessThanOrEqual(30 * 60_000)
    expect(Math.max(...backoffs)).toBeGreaterThanOrEqual(15 * 60_000)
    gate.healthy = true
    scene.runNext()
    await until(() => scene.pending() === 1)
    expect(told.map(({ state }) => state)).toEqual(['ready', 'ready', 'degraded', 'ready'])
    client.stop()
    expect(scene.pending()).toBe(0)
    expect(client.status.state).toBe('stopped')
  })

  test('a gate that does not know the request is asked every 30 minutes, as before', async () => {
    gate.device = 'absent'
    const scene = manual()
    const told: string[] = []
    const client = session(
      options({ background: true, onStatus: ({ state }) => told.push(state) }),
      scene.tempo,
    )
    await client.start()
    scene.runNext()
    await until(() => scene.pending() === 1)
    expect(scene.delays[1]).toBeWithin(27 * 60_000, 33 * 60_000 + 1)
    expect(told).toEqual(['ready'])
    client.stop()
  })

  test('a revocation is reported within a minute, with the reason, and the next code enrols', async () => {
    gate.codes = new Set(['code-1'])
    let code: string | undefined = 'code-1'
    const scene = manual()
    const told: Status[] = []
    const client = session(
      options({ background: true, enrollment: () => code, onStatus: (each) => told.push(each) }),
      scene.tempo,
    )
    await client.start()
    const first = await client.token()
    code = undefined
    gate.revoked.add(1)
    scene.runNext()
    await until(() => scene.pending() === 1)
    expect(scene.delays[0]).toBeLessThan(60_000)
    expect(told.map(({ state }) => state)).toEqual(['ready', 'unavailable'])
    expect(told[1]).toMatchObject({
      problem: {
        code: 'enrollment_refused',
        message:
          'this device was revoked at the gate; the gate asks for an enrolment code, or the token of a user, and none was given',
      },
    })
    expect(await client.environment()).toMatchObject({ ok: false })
    code = 'code-2'
    gate.codes.add(code)
    scene.runNext()
    await until(() => scene.pending() === 1)
    expect(told.at(-1)?.state).toBe('ready')
    expect(await client.token()).not.toEqual(first)
    client.stop()
  })

  test('a gate that has lost its file or its secret: the device enrols again by itself', async () => {
    const scene = manual()
    const client = session(options({ background: true }), scene.tempo)
    await client.start()
    const first = await client.token()
    gate.issued.clear()
    scene.runNext()
    await until(() => scene.pending() === 1)
    const next = await client.token()
    expect(next).not.toEqual(first)
    expect(next.ok && gate.issued.has(next.value)).toBe(true)
    expect(client.status.state).toBe('ready')
    client.stop()
  })

  test('no outage of the question makes a good token dead', async () => {
    const scene = manual()
    const client = session(options({ background: true }), scene.tempo)
    await client.start()
    const first = await client.token()
    const answers = (status: number, body: string) => (response: ServerResponse) =>
      response.writeHead(status).end(body)
    for (const [state, device] of [
      ['degraded', 'lost'],
      ['ready', answers(401, '<html>the network wants a login</html>')],
      ['ready', answers(403, '{"error":{"code":"token_revoked"}}')],
      ['degraded', answers(503, '')],
    ] as const) {
      gate.device = device
      scene.runNext()
      await until(() => scene.pending() === 1)
      expect(client.status.state).toBe(state)
      expect(await client.token()).toEqual(first)
    }
    gate.device = 'answer'
    scene.runNext()
    await until(() => scene.pending() === 1)
    expect(client.status.state).toBe('ready')
    expect([gate.count('/bootstrap'), gate.count('/refresh')]).toEqual([1, 0])
    client.stop()
  })

  test('token() asks the gate at its next use, and no more than once a minute', async () => {
    const scene = manual()
    const client = session(options(), scene.tempo)
    await client.token()
    for (let n = 0; n < 5; n += 1) await client.token()
    expect(gate.count('/device')).toBe(0)
    scene.aheadMs = 60_000
    for (let n = 0; n < 5; n += 1) await client.token()
    expect(gate.count('/device')).toBe(1)
    const other = session(options(), scene.tempo)
    gate.revoked.add(1)
    const next = await other.token()
    expect(next.ok && gate.issued.get(next.value)?.family).toBe(2)
  })

  test('a first run against a closed port reports it', async () => {
    const told: Status[] = []
    const baseUrl = gate.url
    await gate.close()
    const client = await connect(options({ baseUrl, onStatus: (each) => told.push(each) }))
    expect(told).toMatchObject([{ state: 'unavailable', problem: { code: 'unreachable' } }])
    await client.environment()
    expect(told).toHaveLength(1)
  })

  test('an enrolment with a lost answer is repeated with the same code and device', async () => {
    gate.codes = new Set(['code-1'])
    let lost = false
    gate.fate = () => {
      if (lost) return 'answer'
      lost = true
      return (response) => void response.socket?.destroy()
    }
    const client = await connect(options({ enrollment: 'code-1', deviceName: 'desk' }))
    expect(client.status.state).toBe('unavailable')
    expect((await client.token()).ok).toBe(true)
    const asks = gate.asks.filter(({ path }) => path === '/bootstrap')
    expect(asks).toHaveLength(2)
    expect(asks[0]).toEqual(asks[1] as never)
    expect(JSON.parse(asks[0]?.body ?? '')).toMatchObject({ device_name: 'desk' })
  })

  test('a listener that throws ends nothing', async () => {
    const onStatus = (): void => {
      throw new Error('the app’s own')
    }
    const client = await connect(options({ onStatus }))
    expect(client.status.state).toBe('ready')
  })

  test('a renewal by another process is seen at once', async () => {
    const client = await connect(options())
    const other = await connect(options())
    const next = await other.refreshNow()
    expect(await client.token()).toEqual(next)
  })

  test('stop in the middle of a refresh still brings the new token home', async () => {
    const client = await connect(options())
    const flight = client.refreshNow()
    client.stop()
    const next = await flight
    expect(await session(options(), FAST).token()).toEqual(next)
  })
})

test('the files are 0600 in a folder that is 0700', async () => {
  await connect(options())
  expect(statSync(kept.path).mode & 0o777).toBe(0o700)
  const files = readdirSync(kept.path)
  expect(files.length).toBe(2)
  for (const file of files) expect(statSync(`${kept.path}/${file}`).mode & 0o777).toBe(0o600)
})
