// How many system calls an answer costs. Bun gathers the writes of an answer only where its handler
// is not resolved from within the very turn that read the upstream; otherwise a short one leaves in
// nine pieces ("Date", ": ", …), each of them a packet. See relay.ts, nextTurn.

import { expect, test } from 'bun:test'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { until } from '../support/binary.ts'
import { scene } from '../support/gate.ts'
import { chunk, event, LAST_CHUNK, rawUpstream, SSE_HEAD } from './raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { wire } from './wire.ts'

const EVENTS = 5

test.skipIf(!Bun.which('strace'))('a unary answer is one send, and so is each event', async () => {
  const upstream = await rawUpstream(async ({ query, socket }) => {
    if (query.get('how') === 'unary') {
      const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n'
      socket.write(`${head}{}`)
      return
    }
    socket.write(SSE_HEAD)
    for (let number = 0; number < EVENTS; number++) {
      await Bun.sleep(50)
      socket.write(chunk(event(number)))
    }
    await Bun.sleep(50)
    socket.write(LAST_CHUNK)
  })
  const at = await scene({ env: { TINFOIL_BASE_URL: upstream.url } })
  const trace = `${tmpdir()}/postern-sends-${at.gate.process.pid}`
  const calls = 'trace=sendto,sendmsg,write,writev'
  const pid = String(at.gate.process.pid)
  const strace = Bun.spawn(['strace', '-f', '-p', pid, '-e', calls, '-s', '20', '-o', trace], {
    stderr: 'pipe',
  })
  await strace.stderr.getReader().read()
  await Bun.sleep(300)
  const sends: Record<string, number> = {}
  for (const how of ['unary', 'stream']) {
    const path = `/v1/chat/completions?how=${how}`
    const before = traced(trace).length
    const one = wire(at.gate.port, { token: at.token, path, body: '{}' })
    await soon(one.finished, 'an answer')
    const mine = await until(() => {
      const since = traced(trace).slice(before)
      const first = since.find((line) => line.includes('"HTTP/1.1 200'))
      const file = /\((\d+),/.exec(first ?? '')?.[1]
      return file === undefined ? undefined : since.filter((line) => line.includes(`(${file}, `))
    })
    sends[how] = mine.length
    one.socket.destroy()
  }
  strace.kill('SIGINT')
  await strace.exited
  console.log(
    `sends: ${sends['unary']} for a unary answer, ${sends['stream']} for ${EVENTS} events`,
  )
  rmSync(trace)
  await at.close()
  await upstream.close()
  expect(sends['unary']).toBe(1)
  // Bun's half of the head, the rest of it with the first event, the other events, the last chunk.
  expect(sends['stream']).toBeLessThanOrEqual(EVENTS + 2)
})

function traced(file: string): string[] {
  return readFileSync(file, 'utf8').split('\n')
}
