// 52: out of file descriptors. What cannot be served is turned away, and when there are some again
// everything is as it was, without a restart.

import { eventually } from '../support/sink.ts'
import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { until } from '../support/binary.ts'
import { scene } from '../support/gate.ts'
import { chunk, event, LAST_CHUNK, rawUpstream, SSE_HEAD } from './raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { type Wire, wire } from './wire.ts'

const DESCRIPTORS = 64

test.skipIf(!Bun.which('prlimit'))('52: out of descriptors it sheds, and recovers', async () => {
  const endless: Socket[] = []
  const upstream = await rawUpstream(({ query, socket }) => {
    socket.write(SSE_HEAD + chunk(event(0)))
    if (query.get('how') === 'short') socket.write(LAST_CHUNK)
    else endless.push(socket)
  })
  const at = await scene({ env: { TINFOIL_BASE_URL: upstream.url } })
  const { pid } = at.gate.process
  Bun.spawnSync(['prlimit', `--pid=${pid}`, `--nofile=${DESCRIPTORS}`])
  const ask = (how: string): Wire => {
    const path = `/v1/chat/completions?how=${how}`
    return wire(at.gate.port, { token: at.token, path, body: '{}' })
  }

  const early = Array.from({ length: 10 }, () => ask('endless'))
  await soon(Promise.all(early.map(({ head }) => head)), 'ten streams')
  const crowd = Array.from({ length: 150 }, () => ask('endless'))
  await Bun.sleep(500)
  const before = cpuMs(pid)
  await Bun.sleep(1000)
  const spent = cpuMs(pid) - before
  const statuses = crowd.map(({ status }) => status)
  console.log(
    `52: of 150 more, ${count(statuses, 200)} got a stream, ${count(statuses, 502)} a 502, ` +
      `${count(statuses, 0)} were not accepted; ${spent} ms of CPU in 1000 ms`,
  )
  // Refused, or left waiting by Bun's accept loop; which of them is a matter of who came first.
  expect(count(statuses, 502) + count(statuses, 0)).toBeGreaterThan(100)
  expect(count(statuses, 200) + count(statuses, 502) + count(statuses, 0)).toBe(150)
  for (const socket of endless.slice(0, 10)) socket.write(chunk(event(1)))
  await until(() => early.every(({ bodyBytes }) => bodyBytes === 2 * event(0).length))
  expect(at.gate.process.exitCode).toBeNull()

  for (const { socket } of [...early, ...crowd]) socket.destroy()
  const answered = async (): Promise<boolean> => {
    const one = ask('short')
    await soon(one.finished, 'an answer')
    one.socket.destroy()
    return one.status === 200 && one.whole
  }
  await eventually(answered)
  for (let number = 0; number < 20; number++) expect(await answered()).toBe(true)
  expect(at.gate.errors()).toBe('')
  await at.close()
  await upstream.close()
})

const count = (all: readonly number[], one: number): number =>
  all.filter((each) => each === one).length

function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}
