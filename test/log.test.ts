// The log's text form, for eyes: whatever is in a field, a line stays a line.

import { describe, expect, test } from 'bun:test'
import pino from 'pino'
import { describeBug, type Level, logRequest, textLines } from '../src/log.ts'
import { seeded } from './support/random.ts'

function lines(color = false) {
  let text = ''
  const stream = textLines((line) => (text += line), color)
  const log = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    stream,
  )
  return { log, text: () => text }
}

const request = {
  request_id: 'r-1',
  method: 'POST',
  route: '/v1/chat/completions',
  status: 200,
  end: 'complete',
  headers_ms: 12.3,
  duration_ms: 2345.6,
  bytes_in: 999,
  bytes_out: 1_234_567,
  input_tokens: 67,
  output_tokens: 42,
  identity: 'ab'.repeat(32),
}

test('a request is one line that an eye can follow', () => {
  const { log, text } = lines()
  log.info(request, 'request')
  expect(text()).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} INFO  POST \/v1\/chat\/completions  200  complete  2\.3s \(headers 12ms\)  999B in, 1\.2MB out  67 → 42 tokens  who=abababababab  id=r-1\n$/,
  )
})

test('absent members are not shown', () => {
  const { log, text } = lines()
  const { headers_ms: _a, input_tokens: _b, output_tokens: _c, identity: _d, ...rest } = request
  log.warn({ ...rest, reason: 'exp is past' }, 'request')
  expect(text()).toContain('reason="exp is past"')
  expect(text()).not.toMatch(/undefined|NaN|headers|tokens|who=/)
})

test('the whole identity is not for eyes', () => {
  const { log, text } = lines()
  log.info(request, 'request')
  expect(text()).not.toContain('ab'.repeat(7))
})

const NASTY = [
  '\n',
  '\r\n',
  'a\nINFO forged',
  '\u001b[2J',
  '\u001b]0;title\u0007',
  '\u009b31m',
  '\u0000',
  '\u0008\u0008\u0008',
  '\u007f',
  '\u0085',
  '\u2028',
  '\u2029',
  '\u202e desrever',
  '\u2066\u2069',
  '\u200b\u200f',
  '\ufeff',
  '\u{e0041}',
]
/** Controls, and characters that turn or hide text. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

describe('no field puts a raw control character into a line', () => {
  for (const nasty of NASTY) {
    test(JSON.stringify(nasty), () => {
      const fields = [...Object.keys(request), 'reason', 'other', 'error', `name${nasty}`]
      for (const msg of ['request', 'listening', nasty]) {
        for (const field of fields) {
          for (const value of [nasty, `x${nasty}x`, [nasty], { [nasty]: nasty }]) {
            const { log, text } = lines()
            log.info({ ...request, [field]: value }, msg)
            expect(text()).toEndWith('\n')
            expect([field, HIDDEN.test(text().slice(0, -1))]).toEqual([field, false])
          }
        }
      }
    })
  }
})

test('with colours, the only escapes are ours', () => {
  const { log, text } = lines(true)
  log.error({ ...request, request_id: '\u001b[31mid', identity: '\u001b[2J' }, 'request')
  // oxlint-disable-next-line no-control-regex
  const plain = text().replace(/\u001b\[(?:2|22|31|39)m(?=[^i])/g, '')
  expect(text()).toContain('\u001b[31mERROR\u001b[39m')
  expect(plain).not.toContain('\u001b[2J')
  expect(text()).not.toContain('\u001b[31mid')
})

test(
  'whatever is logged, it is one line',
  seeded((random) => {
    const { log, text } = lines()
    const value = (): string =>
      Array.from({ length: 3 }, () => random.pick([...NASTY, 'a', '"', ' ', '\\', '='])).join('')
    for (let round = 0; round < 1000; round += 1) {
      log.warn({ [value()]: value(), reason: value(), n: round }, random.pick(['request', value()]))
    }
    expect(text().split('\n')).toHaveLength(1001)
  }),
)

describe('an unexpected error', () => {
  test('is logged by its kind and place, without its message', () => {
    const bug = describeBug(new TypeError('canary: user text'))
    expect(bug.error).toBe('TypeError')
    expect(bug.at?.[0]).toContain('log.test.ts')
    expect(JSON.stringify(bug)).not.toContain('canary')
  })
  test('not even if its message looks like a place', () => {
    const bug = describeBug(new Error('x\n    at canary (secret.ts:1:1)\n    at canary2'))
    expect(JSON.stringify(bug)).not.toContain('canary')
    expect(bug.at?.length).toBeGreaterThan(0)
  })
  test('has at most eight places', () => {
    const dig = (depth: number): never => {
      if (depth === 0) throw new Error('deep')
      return dig(depth - 1)
    }
    try {
      dig(30)
    } catch (error) {
      expect(describeBug(error).at?.length).toBeLessThanOrEqual(8)
    }
  })
  test('may be no error at all', () => {
    expect(describeBug('canary')).toEqual({ error: 'string' })
    expect(describeBug(undefined)).toEqual({ error: 'undefined' })
    expect(describeBug({ message: 'canary' })).toEqual({ error: 'object' })
  })
})

describe('the line of a request', () => {
  const written = (level: Level, fields: Readonly<Record<string, unknown>>): string => {
    let text = ''
    const log = pino({ base: null, level: 'info' }, { write: (line) => (text += line) })
    logRequest(log, level, fields)
    return text
  }

  test('is what JSON says of it, in this order, whatever its words hold', () => {
    for (const nasty of [...NASTY, '"', '\\', '\ud800', 'é', '"},"level":"x']) {
      const fields = { request_id: nasty, status: 200, code: undefined, model: `${nasty}x` }
      const line = written('warn', fields)
      const { time, ...rest } = JSON.parse(line)
      expect(line).toBe(`${JSON.stringify({ level: 'warn', time, ...fields, msg: 'request' })}\n`)
      expect(rest).not.toHaveProperty('code')
      expect(line.slice(0, -1)).not.toContain('\n')
    }
  })

  test('says the time at which it was written', async () => {
    const timeOf = (): number => Date.parse(JSON.parse(written('info', { status: 200 })).time)
    for (let round = 0; round < 5; round += 1) {
      const before = Date.now()
      const time = timeOf()
      expect(time).toBeWithin(before, Date.now() + 1)
      await Bun.sleep(2)
    }
  })

  test('is not written below the level that is asked for', () => {
    expect(written('debug', { status: 200 })).toBe('')
  })
})
