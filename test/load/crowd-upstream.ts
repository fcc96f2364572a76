// An upstream in a process of its own, for a crowd of `COUNT`: each gets its first event at once,
// and when all of them are there the others, `EVENTS` in all, one each `PERIOD_MS`. Prints its port. Where
// it is started with `held`, the last event of each waits for a SIGUSR2; it prints "held" when all wait.

import net, { type AddressInfo, type Socket } from 'node:net'
import { chunk, event, LAST_CHUNK, SSE_HEAD } from '../stream/raw-upstream.ts'

const [count, events, periodMs] = Bun.argv.slice(2).map(Number)
let told = false
let isHeld = Bun.argv.includes('held')
process.on('SIGUSR2', () => {
  isHeld = false
})
const running = new Map<Socket, number>()
let complete = false

const send = (socket: Socket, number: number): void => {
  socket.write(chunk(event(number, 180)))
  running.set(socket, number + 1)
}

const server = net.createServer((socket) => {
  socket.on('error', () => {})
  socket.on('close', () => running.delete(socket))
  socket.once('data', () => {
    socket.write(SSE_HEAD)
    send(socket, 0)
  })
})
setInterval(() => {
  complete ||= running.size === count
  if (!complete) return
  const last = (events ?? 0) - 1
  if (isHeld && !told && [...running.values()].every((next) => next === last)) {
    told = true
    console.log('held')
  }
  for (const [socket, next] of running) {
    if (isHeld && next === last) continue
    if (next < (events ?? 0)) send(socket, next)
    else {
      running.delete(socket)
      socket.end(LAST_CHUNK)
    }
  }
}, periodMs)
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log((server.address() as AddressInfo).port)
})
