// What the figures are made with: the kernel's words read right, streams compared byte for byte,
// ratios taken within a round.

import { expect, test } from 'bun:test'
import { seeded } from '../support/random.ts'
import { answerReader } from './answer-reader.ts'
import { judge } from './bars.ts'
import { withBlock } from './markdown.ts'
import type { Sample } from './part.ts'
import { cpuSeconds, memoryOf, parseStat, treeOf } from './proc.ts'
import { after, before, chunk, DIALECTS, event, EVENT_BYTES, wholeBody } from './sse-events.ts'
import { STREAM_END, STREAM_HEAD } from './sse-events.ts'
import { median, percentile, shuffled, summary } from './statistics.ts'

test('medians and percentiles', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(summary([5, 1, 9])).toEqual({ median: 5, least: 1, most: 9 })
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)
  expect([percentile(hundred, 0.5), percentile(hundred, 0.99)]).toEqual([50, 99])
  expect(() => median([])).toThrow(RangeError)
})

test(
  'an order has everybody once, and differs',
  seeded((random) => {
    const orders = Array.from({ length: 50 }, () => shuffled(['a', 'b', 'c', 'd'], random))
    for (const order of orders) expect(order.toSorted()).toEqual(['a', 'b', 'c', 'd'])
    expect(new Set(orders.map((order) => order[0])).size).toBe(4)
  }),
)

test('a process whose name has brackets and spaces is read right', () => {
  const text = '7 (a) b (c) S 3 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 100 1 1'
  expect(parseStat(text)).toEqual({ parent: 3, ticks: 300 })
})

test("CPU time and memory include a process's children", async () => {
  const spin = "for (let c; c = process.cpuUsage(), c.user + c.system < 150_000;); console.log('x')"
  const child = Bun.spawn(
    ['sh', '-c', `"${process.execPath}" -e "${spin}; await Bun.sleep(9000)" & wait`],
    { stdout: 'pipe', stderr: 'ignore' },
  )
  try {
    await child.stdout.getReader().read()
    expect(treeOf(child.pid).length).toBe(2)
    expect(cpuSeconds(child.pid)).toBeWithin(0.13, 1)
    const { rssBytes, pssBytes } = memoryOf(child.pid)
    expect(rssBytes).toBeGreaterThan(20_000_000)
    expect(pssBytes).toBeWithin(1_000_000, rssBytes)
  } finally {
    for (const pid of treeOf(child.pid).toReversed()) process.kill(pid, 'SIGKILL')
  }
}, 30_000)

test('every event has the same length, and none is like another', () => {
  for (const dialect of DIALECTS) {
    const all = Array.from({ length: 300 }, (_, number) => event(dialect, number))
    expect(new Set(all.map((each) => Buffer.byteLength(each)))).toEqual(new Set([EVENT_BYTES]))
    expect(new Set(all).size).toBe(300)
    for (const each of all) JSON.parse(/^data: (.*)$/m.exec(each)?.[1] ?? '')
  }
})

function readAll(pieces: readonly Buffer[]): { status: number[]; body: Buffer; ends: number } {
  const status: number[] = []
  const body: Buffer[] = []
  let ends = 0
  const reader = answerReader({
    onHead: (code) => status.push(code),
    onBody: (piece) => body.push(Buffer.from(piece)),
    onEnd: () => ends++,
  })
  for (const piece of pieces) reader.push(piece)
  return { status, body: Buffer.concat(body), ends }
}

test(
  'answers, cut anywhere, come out whole: by length, in chunks, and with a trailer',
  seeded((random) => {
    const dialect = 'anthropic'
    const events = Array.from({ length: 4 }, (_, number) => chunk(event(dialect, number)))
    const stream = [
      STREAM_HEAD,
      chunk(before(dialect)),
      ...events,
      chunk(after(dialect)),
      STREAM_END,
    ]
    const short = Buffer.from('HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello')
    const bytes = Buffer.concat([...stream, short, ...stream])
    const body = Buffer.concat([wholeBody(dialect, 4), Buffer.from('hello'), wholeBody(dialect, 4)])
    for (let times = 0; times < 200; times++) {
      const pieces: Buffer[] = []
      const most = random.pick([1, 3, 40, 500])
      for (let at = 0; at < bytes.length;) {
        const length = 1 + random.int(most)
        pieces.push(bytes.subarray(at, at + length))
        at += length
      }
      expect(readAll(pieces)).toEqual({ status: [200, 404, 200], body, ends: 3 })
    }
  }),
)

test('a chunk that is longer than it said is no answer', () => {
  const wrong = Buffer.concat([STREAM_HEAD, Buffer.from('3\r\nabcd\r\n')])
  expect(() => readAll([wrong])).toThrow('longer')
})

test('a ratio is computed for each round, and its median must meet the bar', () => {
  const bar = { about: '', part: 'p', figure: 'cpuUs', beside: 'nginx', atMost: 2 } as const
  const sample = (subject: Sample['subject'], round: number, cpuUs: number): Sample => ({
    part: 'p',
    subject,
    round,
    figures: { cpuUs },
  })
  // The machine is ten times slower in round 2: the medians of the figures alone would say 1.
  const samples = [1, 10, 1].flatMap((slow, round) => [
    sample('postern', round, 20 * slow),
    sample('nginx', round, 10 * slow),
  ])
  const [at] = judge([...samples, sample('postern', 3, 90)], [bar])
  expect(at).toMatchObject({ measured: { median: 2, least: 2, most: 2 }, passed: true })
  expect(judge(samples, [{ ...bar, atMost: 1.9 }])[0]?.passed).toBe(false)
  expect(judge(samples, [{ ...bar, beside: 'haproxy' }])[0]?.passed).toBeUndefined()
})

test('a round in which our events came together, and theirs did not, is no comparison', () => {
  const bar = { about: '', part: 'p', figure: 'cpuUs', beside: 'nginx', atMost: 2 } as const
  const sample = (
    subject: Sample['subject'],
    round: number,
    cpuUs: number,
    eventsPerRead: number,
  ) => ({ part: 'p', subject, round, figures: { cpuUs, eventsPerRead } }) satisfies Sample
  const together = [sample('postern', 1, 5, 3), sample('nginx', 1, 10, 1)]
  const apart = [sample('postern', 2, 30, 1.05), sample('nginx', 2, 10, 1)]
  expect(judge(together, [bar])[0]?.passed).toBeUndefined()
  expect(judge([...together, ...apart], [bar])[0]).toMatchObject({
    measured: { median: 3 },
    passed: false,
  })
})

test('a text keeps everything around its table', () => {
  const text = 'a\n\n<!-- bench -->\nold\n<!-- /bench -->\n\nb\n'
  const filled = withBlock(text, 'bench', '| $1 |')
  expect(filled).toBe('a\n\n<!-- bench -->\n\n| $1 |\n\n<!-- /bench -->\n\nb\n')
  expect(withBlock('nothing here', 'bench', '')).toBeUndefined()
})
