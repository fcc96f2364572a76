// 47: each event when it comes, at the 99th of a hundred and not the middle one.

import type { Socket } from 'node:net'
import { scene } from '../../support/gate.ts'
import { chunk, event, LAST_CHUNK, rawUpstream, SSE_HEAD } from '../../stream/raw-upstream.ts'
import { until } from '../../support/binary.ts'
import { soon } from '../../support/patience.ts'
import { wire } from '../../stream/wire.ts'
import { judged, ms, type Own, percentile } from '../own.ts'

const EVENTS = 2000
const WITHIN_MS = 5

export const EVENT_PACE: Own = {
  name: '47: each event when it comes',
  async run(size) {
    const events = size === 'full' ? EVENTS : 500
    let socket: Socket | undefined
    const upstream = await rawUpstream((request) => {
      socket = request.socket
      socket.write(SSE_HEAD)
    })
    const at = await scene({ env: { TINFOIL_BASE_URL: upstream.url } })
    let arrived = Promise.withResolvers<number>()
    const stream = wire(at.gate.port, {
      token: at.token,
      path: '/v1/chat/completions',
      body: '{}',
      onBody: () => arrived.resolve(performance.now()),
    })
    await until(() => socket)
    const delays: number[] = []
    for (let number = 0; number < events; number++) {
      await Bun.sleep(number % 7)
      arrived = Promise.withResolvers<number>()
      const sent = performance.now()
      socket?.write(chunk(event(number)))
      delays.push((await soon(arrived.promise, `event ${number}`)) - sent)
    }
    socket?.write(LAST_CHUNK)
    await soon(stream.finished, 'the end')
    const exact = stream.bodyBytes === events * event(0).length
    stream.socket.destroy()
    await at.close()
    await upstream.close()
    const p99 = percentile(delays, 0.99)
    return judged(
      `${events} events: p50 ${ms(percentile(delays, 0.5))}, p99 ${ms(p99)}, ` +
        `longest ${ms(Math.max(...delays))}`,
      size,
      { 'p99 within 5 ms': p99 < WITHIN_MS, 'every byte': exact },
    )
  },
}
