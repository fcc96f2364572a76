// Whatever a stranger or an upstream sends, reading it costs time in proportion to its length. Two
// walks: each regular expression of src is proven to backtrack a bounded number of times, or is named
// below with what it is fed; and each reader written by hand is fed strings of one unit, repeated.

import { describe, expect, test } from 'bun:test'
import { Glob } from 'bun'
import { getSchemaValidator, type Static } from 'elysia'
import { isSafe } from 'redos-detector'
import { hopsOfForwarded, hopsOfForwardedFor } from '../src/accept/forwarded.ts'
import { loginCookies } from '../src/accept/login/cookies.ts'
import { knownHost } from '../src/accept/login/guard.ts'
import { PASTED_BODY, pastedAnswer, pastedFields } from '../src/accept/login/paste.ts'
import { routeFinder } from '../src/accept/route-table.ts'
import { targetOf } from '../src/accept/target.ts'
import { bearerToken } from '../src/admit/bearer.ts'
import { parseCompact } from '../src/token/compact.ts'
import { allowedModel } from '../src/token/model-pattern.ts'
import { sentKey } from '../src/admit/session.ts'
import { elementTexts, parseStrictObject } from '../src/token/strict-json.ts'
import { modelNotAllowed } from '../src/budget/refusals.ts'
import { declaredLength } from '../src/upstream/inspected.ts'
import { codingsOf } from '../src/dispatch/content-coding.ts'
import { isPlainJson } from '../src/dispatch/plain-json.ts'
import { readRequestFields } from '../src/upstream/anthropic/request-fields.ts'
import { anthropicUsageMeter } from '../src/upstream/anthropic/usage.ts'
import { allowedHost } from '../src/upstream/tinfoil/enclave.ts'
import { readFields } from '../src/http1/fields.ts'
import { forbiddenBy } from '../src/upstream/forbidden.ts'
import { objectPageIn } from '../src/upstream/reading/listed-objects.ts'
import { openAiUsageMeter } from '../src/upstream/reading/openai-usage.ts'
import { parseTinfoilUsage } from '../src/upstream/tinfoil/usage.ts'
import { readBootstrap } from './support/bootstrap-body.ts'
import { howMany } from './support/long.ts'
import { regexLiterals } from './support/regex-literals.ts'
import { EVERY_ROUTE } from './support/routes.ts'

const root = new URL('../src/', import.meta.url).pathname

/** What these read is the operator's, an app's own or development mode's. */
const OWN = new Set(['config', 'client', 'operate', 'dev'])

/** Eight times as long may cost so many times as much; quadratic would be 64 times. */
const MOST_GROWTH = 28
const FACTOR = 8

interface Unproven {
  /** Whose text it is, and how long that can be. */
  readonly why: string
  /** The longest that it can be fed. */
  readonly length: number
  /** One unit of the strings that it is dearest on. */
  readonly units: readonly string[]
}

const HOST_WITHOUT_PORT: Unproven = {
  why: 'Host is cut to 260 characters before any route',
  length: 260,
  units: [':', ':1', '1', 'a'],
}
const ERROR_WORDS: Unproven = {
  why: "an upstream's words for a 403, cut to 4,000",
  length: 4000,
  units: ['key ', 'invalid ', 'a', ' ', 'key invalid', 'error: ', 'model', '403 ', '.'],
}
/** By `file`, in the order of the file. */
const UNPROVEN: Readonly<Record<string, readonly Unproven[]>> = {
  'accept/login/guard.ts': [HOST_WITHOUT_PORT],
  'accept/login/routes.ts': [HOST_WITHOUT_PORT],
  'admit/bearer.ts': [
    {
      why: 'Authorization; each comma is looked behind once',
      length: 16_384,
      units: [',', ', ', ' ', ', bearer', 'bearer ', 'a'],
    },
  ],
  'upstream/anthropic/results-url.ts': [
    {
      why: 'a page of batches; no text is gone through beyond its quote',
      length: 65_536,
      units: ['"results_url"', '"results_url":"http:', ' ', ':', '/v1/messages/batches/', '"'],
    },
  ],
  'upstream/tinfoil/enclave.ts': [
    { why: 'a host that is at most 253 long', length: 253, units: ['.', '.1', '1'] },
  ],
  'upstream/forbidden.ts': [ERROR_WORDS, ERROR_WORDS],
  'http1/no-proxy.ts': [
    { why: "the operator's NO_PROXY", length: 4096, units: [':', ':1', '[', 'a', '1'] },
  ],
  'upstream/reading/openai-usage.ts': [
    {
      why: 'an event of an upstream; each name is looked behind once',
      length: 1_048_576,
      units: ['"usage":', '"usage": ', ' ', '"'],
    },
    {
      why: 'the same',
      length: 1_048_576,
      units: ['"error":', '"error": ', ' ', '"'],
    },
    {
      why: 'a chunk of an upstream; each text is gone through once',
      length: 4096,
      units: ['"text":', '"text":"', '"text":"a"', '\\', '"text":"\\"'],
    },
  ],
  'http1/destination.ts': [{ why: "the operator's base URL", length: 2048, units: ['/'] }],
  'http1/response.ts': [
    {
      why: "an upstream's Keep-Alive; each comma is looked behind once",
      length: 65_536,
      units: [',', ', ', ';\t', 'timeout=', ',timeout='],
    },
    {
      why: "an upstream's Connection; the same",
      length: 65_536,
      units: [',', ', ', 'close', ',close ', ' '],
    },
  ],
}

describe('every regular expression', () => {
  const files = [...new Glob('**/*.ts').scanSync(root)].toSorted()

  test('of what is not our own is linear, or named here with what it is fed', async () => {
    let proven = 0
    const unnamed: string[] = []
    for (const file of files) {
      if (OWN.has(file.split('/')[0] ?? '')) continue
      const named = UNPROVEN[file] ?? []
      const literals = regexLiterals(file, await Bun.file(root + file).text())
      const unproven = literals.filter(
        ({ regex }) => !isProven(regex, named.length > 0 ? [FEW] : [FEW, MANY]),
      )
      proven += literals.length - unproven.length
      for (const [at, { line, regex }] of unproven.entries()) {
        const { length, units } = named[at] ?? {}
        if (!length || !units) unnamed.push(`${file}:${line}: ${regex}`)
        else if (!units.every((unit) => isLinear((text) => text.replace(regex, ''), unit, length)))
          unnamed.push(`${file}:${line}: ${regex} is not linear`)
      }
    }
    // Mend it (two runs that can take the same letters are beside each other, or nothing anchors it),
    // or name it above, with the bound of its text.
    expect(unnamed).toEqual([])
    expect(proven).toBeGreaterThan(80)
  })

  test('is written as a literal, so that it is found', async () => {
    for (const file of files) {
      if (OWN.has(file.split('/')[0] ?? '')) continue
      expect([file, /\bRegExp\(/.test(await Bun.file(root + file).text())]).toEqual([file, false])
    }
  })

  test('is found in whatever stands around it', () => {
    const found = regexLiterals(
      'x.ts',
      [
        'const a = b / c / d // /no/',
        "const e = '/no/' + `/no/ ${/yes1/.source} /no/ ${`${{ f: /yes2/g }}`}`",
        'return /yes[/]3/u.test(g) /* /no/ */ ? h(/yes\\/4/) : [/yes5/]',
        'const i = (j) / k / l',
      ].join('\n'),
    )
    expect(found.map(({ line, regex }) => `${line} ${regex}`)).toEqual([
      '2 /yes1/',
      '2 /yes2/g',
      '3 /yes[/]3/u',
      '3 /yes\\/4/',
      '3 /yes5/',
    ])
  })

  test('that is quadratic is seen', () => {
    const quadratic = /^a\s*\/json\s*(;\s*b\s*)?;?\s*$/
    expect(isProven(quadratic)).toBe(false)
    expect(isProven(/\s+$/)).toBe(false)
    expect(isLinear((text) => quadratic.test(`a/json${text}x`), ' ', 1024)).toBe(false)
  })
})

const HEADER = 16_384
const BODY = howMany(32_768, 65_536)
const header = (name: string) => (text: string) => new Headers([[name, text]])
const find = routeFinder(EVERY_ROUTE)
const pasted = getSchemaValidator(PASTED_BODY)
const isPasted = (body: unknown): body is Static<typeof PASTED_BODY> => pasted.Check(body)
const cookies = loginCookies({ secure: true, returnsHere: true })
const bytes = (text: string): Uint8Array => Buffer.from(text)
const BLANKS = [' ', '\t', ',', ', ', ';', '; ', '=', '"', '\\', '/', '.', ':', '-', 'a', '0', '%']

interface Reader {
  read(text: string): unknown
  readonly length: number
  /** Beside BLANKS. */
  readonly units: readonly string[]
  /** What the repeated unit stands between. */
  readonly around?: readonly (readonly [before: string, after: string])[]
}
const PLAIN = [
  ['', ''],
  ['', '\u0001'],
] as const

const JSON_UNITS = [
  '[',
  '{"a":',
  '"',
  '\\',
  '\\u0041',
  '1',
  '-',
  'é',
  '{},',
  '[],',
  '"a":1,',
  '"Model":1,',
  '{"a":{"b":[{}]}},',
  '{"model":"m"},',
  '{"type":"image","source":{"type":"base64","data":"aaaa"}},',
  '{"input":{"model":1},"type":"x"},',
]
const meter = (of: typeof openAiUsageMeter, type: string, piece: number) => (text: string) => {
  const reader = of(type, undefined)
  const all = bytes(text)
  for (let at = 0; at < all.length; at += piece) reader?.push(all.subarray(at, at + piece), 0)
  return reader?.end({}, true)
}

const READERS: Readonly<Record<string, Reader>> = {
  'the Authorization header': {
    read: (text) => bearerToken(text, ''),
    length: HEADER,
    units: ['bearer ', ', bearer', 'A='],
    around: [...PLAIN, ['Bearer ', ''], ['Bearer ', ',']],
  },
  'a token in the query': {
    read: (text) => bearerToken(null, text),
    length: HEADER,
    units: ['&', 'a&', 'access_token', '%2', '+'],
  },
  'two credentials': {
    read: (text) => sentKey(new Headers({ 'x-api-key': text, authorization: text }), ''),
    length: HEADER,
    units: ['Bearer '],
  },
  'a compact JWT': {
    read: (text) => parseCompact(text, { ES256: [64, 64] }),
    length: HEADER,
    units: ['e30.', 'eyJ', '_', '{}'],
    around: [...PLAIN, ['e30.', `.${'A'.repeat(86)}`]],
  },
  'a page of stored objects': {
    read: (text) => objectPageIn(bytes(text)),
    length: BODY,
    units: [...JSON_UNITS, '{"id":"a"},', '"data":[],', '"Id":1,'],
    around: [...PLAIN, ['{"data":[', '1]}'], ['{"data":[{', '"z":1}]}'], ['{"', '":1}']],
  },
  'a strict object': {
    read: (text) => parseStrictObject(text),
    // The short one too is longer than what is not looked at first.
    length: 160_000,
    units: JSON_UNITS,
    around: [...PLAIN, ['{"x":[', '1]}'], ['{"x":"', '"}'], ['{', '"z":1}']],
  },
  'the keys of a set': {
    read: (text) => elementTexts(text, 'keys'),
    length: BODY,
    units: JSON_UNITS,
    around: [...PLAIN, ['{"keys":[', '1]}'], ['{"x":"', '"}']],
  },
  "a request's body": {
    read: (text) => readRequestFields(bytes(text)),
    length: BODY,
    units: JSON_UNITS,
    around: [
      ...PLAIN,
      ['{"model":"m","x":[', '1]}'],
      ['{"model":"m","tools":[', '1]}'],
      ['{"model":"m","models":[', '1]}'],
      ['{"model":"m","x":{', '"z":1}}'],
      ['{"model":"m","messages":[{"content":[', '1]}]}'],
      ['{"model":"', '"}'],
      ['{"', '":1}'],
    ],
  },
  'the body of an enrolment': {
    read: (text) => readBootstrap(text),
    length: 4096,
    units: JSON_UNITS,
    around: [...PLAIN, ['{"device_id":"', '"}'], ['{"device_id":"a","device_name":"', '"}']],
  },
  'a pasted answer': {
    read: (text) =>
      [true, false].map((isForm) => {
        const fields = pastedFields(text, isForm)
        return isPasted(fields) && pastedAnswer(fields)
      }),
    length: HEADER - 32,
    units: ['#', '&', 'code=', 'code=a&', '?'],
    around: [...PLAIN, ['code=', '#a'], ['{"code":"', '"}']],
  },
  'X-Forwarded-For': {
    read: (text) => hopsOfForwardedFor(text),
    length: HEADER,
    units: ['1.1.1.1,', '[::1],', '::', '"'],
  },
  Forwarded: {
    read: (text) => hopsOfForwarded(text),
    length: HEADER,
    units: ['for=1.1.1.1,', 'for="', 'a=b;', '\\"', 'for='],
    around: [...PLAIN, ['for="', '"'], ['for="[', ']"']],
  },
  cookies: {
    read: (text) => [cookies.session(text), cookies.attempt(text)],
    length: HEADER,
    units: ['__Host-postern_session=a;', 'postern_login=;', 'a=b; '],
  },
  Host: {
    read: (text) => [targetOf(`http://${text}/`, text), knownHost(text, [])],
    length: HEADER,
    units: ['a.', '[', ':1', '_'],
    around: [...PLAIN, ['a', ':80'], ['[', ']']],
  },
  'a path': {
    read: (text) => [targetOf(`http://a${text}`, 'a'), find(text)],
    length: HEADER,
    units: ['/a', '?', '#', '/..', '%2f'],
    around: [...PLAIN, ['/v1/models/', ''], ['/v1/messages/batches/', '/cancel']],
  },
  'Content-Type': {
    read: (text) => isPlainJson(text),
    length: HEADER,
    units: ['charset=', ';charset=utf-8'],
    around: [...PLAIN, ['application/json', 'x'], ['application/json;', 'charset=utf-8']],
  },
  'Content-Encoding': {
    read: (text) => codingsOf(text),
    length: HEADER,
    units: ['gzip,', 'identity,', ' ,'],
  },
  'Content-Length': {
    read: (text) => declaredLength(header('content-length')(text), 1000),
    length: HEADER,
    units: ['0', '1,', '5, '],
    around: [['', 'x']],
  },
  "an enclave's URL": {
    read: (text) => allowedHost(text, ['.a.test', 'b.test']),
    length: HEADER,
    units: ['a.', '.1', '-', 'a-'],
    around: [...PLAIN, ['https://', '.a.test'], ['https://a', '/']],
  },
  "a model's name": {
    read: (text) => [allowedModel(text, [text, 'a*', `${text}*`]), modelNotAllowed(text, [text])],
    length: HEADER,
    units: ['*', 'é', '\u202e'],
  },
  "the fields of an upstream's answer": {
    read: (text) => readFields(text, 0),
    length: 65_536,
    units: ['a: b\r\n', '\r\n', ':', 'a'],
    around: [...PLAIN, ['a:', '\r\n\r\n']],
  },
  "Tinfoil's usage": {
    read: (text) => parseTinfoilUsage(text),
    length: 1024,
    units: ['prompt=1,', 'prompt=', ',\t'],
  },
  "an upstream's refusal": {
    read: (text) => forbiddenBy(text),
    length: BODY,
    units: ['key ', 'invalid ', 'error: ', 'the model '],
    around: [['{"error":{"message":"', '"}}']],
  },
  "Anthropic's events": {
    read: meter((type, coding) => anthropicUsageMeter(type, coding), 'text/event-stream', BODY),
    length: BODY,
    units: ['\n', '\r', 'data: a\n', 'event: message_delta\n', 'data: {}\n\n', 'data:', ':\n'],
  },
  "Anthropic's events in pieces of seven bytes": {
    read: meter((type, coding) => anthropicUsageMeter(type, coding), 'text/event-stream', 7),
    length: BODY,
    units: ['\n', '\r\n', 'data: a\n', 'event: message_delta\n', 'data: {}\n\n'],
  },
  "OpenAI's events": {
    read: meter(openAiUsageMeter, 'text/event-stream', 64),
    length: BODY,
    units: [
      'data: {"usage": ',
      'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
      '"usage":',
      '\n',
    ],
    around: [...PLAIN, ['data: ', '\n\n'], ['data: {"usage":', '\n\n']],
  },
  'a whole answer in pieces': {
    read: meter(openAiUsageMeter, 'application/json', 1000),
    length: BODY,
    units: JSON_UNITS,
  },
}

describe('a reader written by hand is linear', () => {
  test.each(Object.keys(READERS))('%s', (name) => {
    const { read, length, units, around = PLAIN } = READERS[name] as Reader
    for (const unit of [...BLANKS, ...units]) {
      for (const [before, after] of around) {
        const whole = (text: string): unknown => read(before + text + after)
        expect([before, unit, after, isLinear(whole, unit, length)]).toEqual([
          before,
          unit,
          after,
          true,
        ])
      }
    }
  })
})

/** Most are proven in a few steps; some with many words to choose from take more. */
const FEW = { maxSteps: 4000, maxScore: 20 }
const MANY = { maxSteps: 20_000, maxScore: 200 }

function isProven(regex: RegExp, within = [FEW]): boolean {
  const repeats = regex.source.replaceAll(/\\.|\[(?:\\.|[^\]\\])*\]/g, 'a')
  return !/[*+]|\{\d+,/.test(repeats) || within.some((bounds) => isSafe(regex, bounds).safe)
}

/** Enough to be told from the clock's own steps. */
const MIN_MS = 0.04
const TRIES = 40

/** Measured until it is, since a busy machine can only make things slower. */
function isLinear(read: (text: string) => unknown, unit: string, length: number): boolean {
  const long = unit.repeat(Math.max(1, Math.floor(length / unit.length)))
  const short = unit.repeat(Math.max(1, Math.floor(length / unit.length / FACTOR)))
  let times = 1
  while (times < 4096 && took(read, short, times) < MIN_MS) times *= 2
  // A short one that was interrupted would excuse any long one.
  let least = Math.min(...Array.from({ length: 3 }, () => took(read, short, times)))
  let most = Infinity
  for (let tries = 0; tries < TRIES; tries += 1) {
    least = Math.min(least, took(read, short, times))
    most = Math.min(most, took(read, long, times))
    if (most < MOST_GROWTH * Math.max(least, MIN_MS / 4)) return true
  }
  // On a busy machine every long one may have been interrupted: then processor time decides, whose
  // clock is too coarse for less than many of them.
  const isSeen = () => cpuMsOfOne(read, long) < MOST_GROWTH * cpuMsOfOne(read, short)
  return isSeen() || isSeen() || isSeen()
}

const MIN_CPU_MS = 80

function cpuMsOfOne(read: (text: string) => unknown, text: string): number {
  const from = process.cpuUsage()
  for (let done = 1; ; done += 1) {
    read(text)
    const { user, system } = process.cpuUsage(from)
    if (user + system > MIN_CPU_MS * 1000) return (user + system) / 1000 / done
  }
}

function took(read: (text: string) => unknown, text: string, times: number): number {
  const from = performance.now()
  for (let done = 0; done < times; done += 1) read(text)
  return performance.now() - from
}
