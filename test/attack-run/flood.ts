// The crowd, in a process of its own: asks at a steady rate, or as fast as it is answered, over
// connections that stay. `bun flood.ts PORT KIND RATE COUNT LANES ...`; prints one line of JSON.
//
// KIND: `kids` takes the claims and signature of a token, and gives each request a random kid;
// `health` asks for /health; `addresses` sends preflights, each from an address of its own.

import { lane } from './lane.ts'

const [port = '', kind = '', rate = '0', count = '0', lanes = '0', ...more] = Bun.argv.slice(2)
const base64url = (text: string): string => Buffer.from(text).toString('base64url')

let number = 0
const KINDS: Readonly<Record<string, () => string>> = {
  kids: () => {
    const kid = crypto.randomUUID()
    const header = base64url(`{"alg":"ES256","typ":"JWT","kid":"${kid}"}`)
    return `GET /v1/models HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer ${header}.${more[0]}\r\n\r\n`
  },
  health: () => 'GET /health HTTP/1.1\r\nHost: gate.test\r\n\r\n',
  addresses: () => {
    const n = number++
    const address = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
    return (
      `OPTIONS /v1/models HTTP/1.1\r\nHost: gate.test\r\nOrigin: ${more[0]}\r\n` +
      `Access-Control-Request-Method: GET\r\nX-Forwarded-For: ${address}\r\n\r\n`
    )
  },
}
const request = KINDS[kind]
if (!request) throw new Error(`no such kind: ${kind}`)

const statuses: Record<string, number> = {}
const free = await Promise.all(Array.from({ length: Number(lanes) }, () => lane(Number(port))))
let left = Number(count)
let done = 0
const started = performance.now()
const { promise: finished, resolve: finish } = Promise.withResolvers<void>()

function sendUpTo(most: number): void {
  for (let sent = 0; sent < most && left > 0; sent++) {
    // The longest idle one: those that stand still for ten seconds are closed.
    const one = free.shift()
    if (!one) return
    left -= 1
    void one.ask(request!()).then((status) => {
      statuses[status] = (statuses[status] ?? 0) + 1
      if (one.open) free.push(one)
      else void lane(Number(port)).then((fresh) => free.push(fresh))
      done += 1
      if (done === Number(count)) finish()
      if (rate === '0') sendUpTo(1)
    })
  }
}

if (rate === '0') sendUpTo(Number(lanes))
else {
  setInterval(() => {
    const due = ((performance.now() - started) / 1000) * Number(rate)
    sendUpTo(Math.ceil(due) - (Number(count) - left))
  }, 1)
}
await finished
const seconds = (performance.now() - started) / 1000
console.log(JSON.stringify({ statuses, seconds, perSecond: done / seconds }))
process.exit(0)
