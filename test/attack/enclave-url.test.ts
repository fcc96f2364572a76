// Attack 19: a client chooses where our key goes, and chooses badly.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary, passing, until } from '../support/binary.ts'
import { API_KEY, type Scene, scene } from '../support/gate.ts'
import { startRawUpstream } from '../support/raw-upstream.ts'
import { usersOf } from '../support/settings.ts'
import { bearer, errorOf, forget } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene({ env: { TINFOIL_ENCLAVE_HOSTS: '.tinfoil.sh,exact.enclave.test' } })
})
afterAll(() => at.close())
beforeEach(() => forget(at))

const NOT_ALLOWED = [
  '',
  ' ',
  'inference.tinfoil.sh',
  '//inference.tinfoil.sh',
  'http://inference.tinfoil.sh',
  'ftp://inference.tinfoil.sh',
  'file:///etc/passwd',
  'javascript:alert(1)',
  'https:/inference.tinfoil.sh',
  'https:inference.tinfoil.sh',
  'https:\\\\inference.tinfoil.sh',
  'https://127.0.0.1',
  'https://127.1',
  'https://2130706433',
  'https://0x7f000001',
  'https://0x7f.0.0.1',
  'https://0177.0.0.1',
  'https://0',
  'https://0.0.0.0',
  'https://169.254.169.254',
  'https://169.254.169.254/latest/meta-data/',
  'https://[::1]',
  'https://[::ffff:127.0.0.1]',
  'https://[fd00::1]',
  'https://[::]',
  'https://localhost',
  'https://localhost.',
  'https://vm',
  'https://tinfoil.sh',
  'https://.tinfoil.sh',
  'https://..tinfoil.sh',
  'https://eviltinfoil.sh',
  'https://inference.tinfoil.sh.evil.com',
  'https://inference.tinfoil.sh.',
  'https://inference.tinfoil.sh..',
  'https://evil.com/.tinfoil.sh',
  'https://evil.com?.tinfoil.sh',
  'https://evil.com#.tinfoil.sh',
  'https://evil.com\\.tinfoil.sh',
  'https://evil.com%2f.tinfoil.sh',
  'https://evil.com%00.tinfoil.sh',
  'https://evil.com@inference.tinfoil.sh',
  'https://inference.tinfoil.sh@evil.com',
  'https://user:password@inference.tinfoil.sh',
  'https://@inference.tinfoil.sh',
  'https://inference.tinfoil.sh:443',
  'https://inference.tinfoil.sh:8443',
  'https://inference.tinfoil.sh:',
  'https://inference.tinfoil.sh/v1',
  'https://inference.tinfoil.sh//',
  'https://inference.tinfoil.sh/?x',
  'https://inference.tinfoil.sh?x',
  'https://inference.tinfoil.sh#x',
  'https://inference.tinfoil.sh, https://evil.com',
  'https://inference.tinfoil.sh https://evil.com',
  'https://inference.tinfoil.sh\thttps://evil.com',
  'https://inference.t\xednfoil.sh',
  'https://inference\xe3\x80\x82tinfoil.sh',
  'https://inference.tinfo\xc4\xb1l.sh',
  'https://inference.xn--tinfol-pva.sh',
  'https://127.0.0.1.tinfoil.sh.1',
  'https://sub.exact.enclave.test',
  'https://enclave.test',
  `https://${'a.'.repeat(130)}tinfoil.sh`,
]

async function ask(on: Scene, ...enclaves: readonly string[]) {
  const bytes = head(
    'GET /v1/models HTTP/1.1',
    'Host: gate.test',
    `Authorization: Bearer ${on.token}`,
    ...enclaves.map((enclave) => `X-Tinfoil-Enclave-Url: ${enclave}`),
  )
  const [answer] = await exchange(on.gate.port, Buffer.from(bytes, 'latin1'))
  return answer
}

describe('attack 19: an enclave that is not on the list is 400, and no connection', () => {
  for (const enclave of NOT_ALLOWED) {
    test(JSON.stringify(enclave.slice(0, 60)), async () => {
      const answer = await ask(at, enclave)
      expect(answer?.status).toBe(400)
      expect(errorOf(answer?.body ?? '')).toEqual({
        message: 'X-Tinfoil-Enclave-Url does not name an enclave that this gate may reach',
        type: 'invalid_request_error',
        code: 'enclave_not_allowed',
        param: null,
      })
      expect(at.upstream.connections.opened).toBe(0)
    })
  }

  test('two headers, each of them good', async () => {
    const enclave = 'https://inference.tinfoil.sh'
    expect((await ask(at, enclave, enclave))?.status).toBe(400)
    expect(at.upstream.connections.opened).toBe(0)
  })

  test('the addresses of this very machine and network', async () => {
    const trap = await startRawUpstream()
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '0.0.0.0', '0x7f000001']) {
      expect((await ask(at, `https://${host}:${trap.port}`))?.status).toBe(400)
    }
    expect(trap.connections).toEqual([])
    await trap.close()
  })
})

test('attack 19: a name on the list without an address is 400 too', async () => {
  // A label of 64 letters is refused by the resolver itself: no question leaves this machine.
  const answer = await ask(at, `https://${'a'.repeat(64)}.tinfoil.sh`)
  expect(answer?.status).toBe(400)
  expect(errorOf(answer?.body ?? '')['code']).toBe('enclave_not_allowed')
  const line = await at.gate.logged(answer?.header('x-request-id') ?? '')
  expect(line['reason']).toBe('no public address')
  expect(at.upstream.connections.opened).toBe(0)
})

// The resolver's answers come from a hosts file of the test's own, seen by the gate alone: in a
// mount namespace, which takes root on Linux.
const namespace =
  process.platform === 'linux' &&
  Bun.spawnSync(['unshare', '--mount', 'mount', '--bind', '/dev/null', '/etc/hosts'], {
    stderr: 'ignore',
  }).exitCode === 0

test.skipIf(!namespace)(
  'attack 19: a name on the list with any address that is not public is 400',
  async () => {
    const privately = {
      loopback: ['127.0.0.1'],
      lan: ['192.168.1.1'],
      metadata: ['169.254.169.254'],
      six: ['::1'],
      mapped: ['::ffff:10.0.0.1'],
      local: ['fd00::1'],
      both: ['192.88.98.1', '10.0.0.1'],
    }
    const hosts = join(mkdtempSync(join(tmpdir(), 'postern-')), 'hosts')
    const lines = Object.entries(privately).flatMap(([name, addresses]) =>
      addresses.map((address) => `${address} ${name}.tinfoil.sh\n`),
    )
    writeFileSync(hosts, lines.join(''))
    const script = `mount --bind ${hosts} /etc/hosts && exec ${await binary()}`
    const gate = Bun.spawn(['unshare', '--mount', 'sh', '-c', script], {
      env: {
        ...passing(),
        PATH: process.env['PATH'] ?? '',
        PORT: '0',
        HOST: '127.0.0.1',
        LOG_FORMAT: 'json',
        ...usersOf(at.issuer),
        TINFOIL_API_KEY: API_KEY,
        TINFOIL_BASE_URL: at.upstream.url,
      },
      stderr: 'inherit',
    })
    let out = ''
    void (async () => {
      for await (const chunk of gate.stdout) out += Buffer.from(chunk).toString()
    })()
    try {
      const port = await until(() => /"address":"127.0.0.1:(\d+)"/.exec(out)?.[1])
      for (const name of Object.keys(privately)) {
        const response = await fetch(`http://127.0.0.1:${port}/v1/models`, {
          headers: {
            ...bearer(at.token),
            'x-tinfoil-enclave-url': `https://${name}.tinfoil.sh`,
            'x-request-id': `resolves-${name}`,
          },
        })
        expect([name, response.status]).toEqual([name, 400])
        expect(errorOf(await response.text())['code']).toBe('enclave_not_allowed')
        const logged = await until(
          () => out.split('\n').find((line) => line.includes(`"resolves-${name}"`)),
          2000,
        )
        expect(logged).toContain('no public address')
      }
      expect(at.upstream.connections.opened).toBe(0)
    } finally {
      gate.kill('SIGKILL')
      await gate.exited
    }
  },
)
