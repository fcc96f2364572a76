import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Database } from 'bun:sqlite'
import { readUsageArguments, usage } from '../../src/operate/usage.ts'
import { dollars, grouped } from '../../src/operate/figures.ts'
import { csvCell } from '../../src/operate/usage-csv.ts'
import type { Terminal } from '../../src/operate/usage-table.ts'
import { visible } from '../../src/terminal.ts'
import { connectionTo } from '../support/connection.ts'
import { sqliteReportsAtOnce } from '../../src/ledger/sqlite/reports-at-once.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import {
  measure,
  NOON,
  opened,
  opening,
  openLedgerFile,
  outcome,
  recordingLog,
} from '../settle/ledger-parts.ts'

const DAY = 86_400_000
const HOSTILE = '=HYPERLINK("http://evil")\u001b[2J\u202e\u009b31m'
const eyes: Terminal = { shorten: true, color: false }
const pipe = { shorten: false, color: false }

let database: Database

beforeAll(() => {
  database = opened(openLedgerFile(':memory:'))
  const { log } = recordingLog()
  const ledger = sqliteLedger(connectionTo(database), { log, nowMs: NOON })
  const big = measure({ input: 1_234_567, output: 45_678, costMicroUsd: 1_234_567_890 })
  const guess = measure({ input: 100, output: 200, cacheRead: 0, cacheCreation: 0 })
  const add = (...[begin, end]: [Parameters<typeof opening>[0], Parameters<typeof outcome>[0]]) =>
    ledger.close(ledger.open(opening(begin)), outcome(end))
  const tools = { webSearch: 1234, webFetch: 1, codeExecution: 0, other: 0 }
  add({ openedAtMs: NOON - DAY }, { usage: { state: 'exact', measured: { ...big, tools } } })
  add(
    {},
    { end: 'client_gone', usage: { state: 'partial', measured: measure(), estimated: guess } },
  )
  add({ model: HOSTILE, device: 'd'.repeat(64) }, { status: 502, usage: { state: 'unknown' } })
  add({ model: '日本語モデル', org: '' }, { durationMs: 12_345 })
  ledger.flush(NOON)
})
afterAll(() => database.close())

async function ask(words: string, terminal = eyes): Promise<string> {
  const read = readUsageArguments(words.split(' ').filter(Boolean), NOON)
  if (read.kind !== 'question') throw new Error(JSON.stringify(read))
  return usage(
    sqliteReportsAtOnce(database),
    { usersOfDevices: async () => new Map(), keys: async () => new Map() },
    read.question,
    terminal,
  )
}

describe('the table', () => {
  test('fits the terminal it is on, and says what that left out', async () => {
    for (const columns of [40, 60, 80, 94]) {
      const text = await ask('', { ...eyes, columns })
      const [, table = ''] = text.split('\n\n')
      for (const line of table.split('\n')) {
        expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns)
      }
      expect(text).toMatch(/Requests.*Cost/)
      expect(text.includes('Left out, for want of width: cache write')).toBe(columns < 94)
    }
    expect(await ask('', { ...eyes, columns: 10 })).toMatch(/Day +Requests +Cost/)
  })

  test('is for eyes: aligned, grouped, dollars to four digits, and a total', async () => {
    expect(await ask('')).toBe(`Usage by day, 2026-10-22 to 2026-11-20 (UTC)

Day         Requests  Failed      Input  Output  Cache read  Cache write         Cost  Latency
2026-11-19         1       0  1,234,567  45,678       3,000          400  $1,234.5679   900 ms
2026-11-20         3       1         20      40       6,000          800      $0.0025    4.7 s
──────────────────────────────────────────────────────────────────────────────────────────────
Total              4       1  1,234,587  45,718       9,000        1,200  $1,234.5704    3.8 s

Estimated beside these sums, not in them: 100 tokens in, 200 out, $0.0012.
Server tools, in the cost: 1,234 web searches, 1 web fetches.
1 request ended midway: what was seen until then is in these sums.
1 request with unknown usage.
`)
  })

  test('keeps its columns straight where names are wide, long, hostile or missing', async () => {
    for (const by of ['model', 'device', 'org']) {
      const lines = (await ask(`--by ${by}`)).split('\n').slice(2, -6)
      const widths = new Set(lines.filter(Boolean).map((line) => Bun.stringWidth(line)))
      expect(widths.size, by).toBe(1)
    }
    expect(await ask('--by org')).toContain('(none)')
    expect(await ask('--by device')).toContain(`${'d'.repeat(31)}…`)
    expect(await ask('--by device', pipe)).toContain('d'.repeat(64))
  })

  test('says so where there is nothing, and what it was asked for', async () => {
    expect(await ask('--since today --model none --device \u001b[2J')).toBe(
      'Usage by day, 2026-11-20 (UTC)\nOnly device \\u{1b}[2J, model none\n\nNo requests.\n',
    )
    expect(await ask('--since all --model none')).toContain('from the beginning to 2026-11-20')
  })

  test('has a column for reasoning where there was any, which is the first to be left out', async () => {
    const own = opened(openLedgerFile(':memory:'))
    const ledger = sqliteLedger(connectionTo(own), { log: recordingLog().log, nowMs: NOON })
    for (const reasoning of [1500, 7, undefined]) {
      const measured = measure({ ...(reasoning !== undefined && { reasoning }) })
      ledger.close(ledger.open(opening()), outcome({ usage: { state: 'exact', measured } }))
    }
    await ledger.flush(NOON)
    const show = async (words: string, terminal = eyes) => {
      const read = readUsageArguments(words.split(' ').filter(Boolean), NOON)
      if (read.kind !== 'question') throw new Error('no question')
      const names = { usersOfDevices: async () => new Map(), keys: async () => new Map() }
      return usage(sqliteReportsAtOnce(own), names, read.question, terminal)
    }
    const text = await show('')
    expect(text).toMatch(/Output  Reasoning  Cache read/)
    expect(text).toMatch(/Total .* 60 +1,507 +9,000/)
    expect(await show('', { ...eyes, columns: 94 })).toContain('for want of width: reasoning;')
    expect(JSON.parse(await show('--json')).total.reasoningTokens).toBe(1507)
    expect((await show('--csv')).trim()).toEndWith(',1507,0')
    own.close()
  })

  test('colours only where it is asked to', async () => {
    expect(await ask('')).not.toContain('\u001b')
    expect(await ask('', { shorten: true, color: true })).toContain('\u001b[1mTotal')
  })
})

test('no name reaches a terminal as an escape sequence, in any format', async () => {
  for (const format of ['', '--json', '--csv']) {
    for (const terminal of [eyes, pipe]) {
      const text = await ask(`--by model ${format}`, terminal)
      expect(text.replaceAll(/\r?\n/g, '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
      expect(text).toContain('HYPERLINK')
    }
  }
})

describe('JSON', () => {
  test('has every number whole, and the names as they are', async () => {
    const read = JSON.parse(await ask('--by model --json --since 7d'))
    expect(read).toMatchObject({
      by: 'model',
      since: '2026-11-14',
      until: '2026-11-20',
      leftOff: 0,
      total: {
        requests: 4,
        costMicroUsd: 1_234_570_358,
        estimate: { output: 200 },
        tools: { webSearch: 1234 },
      },
    })
    expect(read.rows.map(({ key }: { key: string }) => key)).toContain(HOSTILE)
  })
})

describe('CSV', () => {
  test('has a header, a line for each group, and money in dollars to the last digit', async () => {
    const lines = (await ask('--csv')).split('\r\n')
    expect(lines[0]).toStartWith('day,requests,succeeded,lost,input_tokens,')
    expect(lines[1]).toStartWith('2026-11-19,1,1,0,1234567,45678,3000,400,1234.567890,')
    expect(lines[0]).toEndWith(
      ',web_search_requests,web_fetch_requests,code_execution_requests,other_tool_requests,reasoning_tokens,retried',
    )
    expect(lines[1]).toEndWith(',1234,1,0,0,0,0')
    expect(lines).toHaveLength(4)
  })

  test('holds no cell that a spreadsheet would run', async () => {
    const formulas = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', ' =1', '＝1', '|x', '%x']
    for (const formula of formulas) {
      const cell = csvCell(formula)
      const text = cell.startsWith('"') ? cell.slice(1, -1) : cell
      expect(text, JSON.stringify(formula)).toMatch(/^(?:'|\\u)/)
    }
    expect(csvCell('=cmd|"/c calc"!A1')).toBe(`"'=cmd|""/c calc""!A1"`)
    expect(csvCell('a,b')).toBe('"a,b"')
    expect(csvCell('claude-sonnet-4-5')).toBe('claude-sonnet-4-5')
    expect(csvCell('')).toBe('')
  })
})

describe('the words', () => {
  const filter = (...words: string[]) => {
    const read = readUsageArguments(words, NOON)
    return read.kind === 'question' ? read.question.filter : read
  }
  const midnight = Date.UTC(2026, 10, 20)

  test('since and until are days, the last one included', async () => {
    expect(filter()).toEqual({ sinceMs: midnight - 29 * DAY, untilMs: midnight + DAY })
    expect(filter('--since', '2026-11-01', '--until', '2026-11-02')).toEqual({
      sinceMs: Date.UTC(2026, 10, 1),
      untilMs: Date.UTC(2026, 10, 3),
    })
    expect(filter('--since', 'all')).toEqual({ untilMs: midnight + DAY })
    expect(filter('--since', '1d')).toEqual(filter('--since', 'today'))
    expect(filter('--org', 'o', '--model=m', '--device', 'd')).toMatchObject({
      org: 'o',
      model: 'm',
      device: 'd',
    })
  })

  test('an invalid question is a mistake with its reason', async () => {
    for (const words of [
      ['--since', '2026-02-31'],
      ['--since', 'yesterday\u001b[2J'],
      ['--until', '0'],
      ['--until', 'all'],
      ['--since', '2026-11-20', '--until', '2026-11-19'],
      ['--by', 'hour'],
      ['--by', '__proto__'],
      ['--json', '--csv'],
      ['--limit'],
      ['extra'],
      ['--device'],
    ]) {
      const read = readUsageArguments(words, NOON)
      expect(read.kind, words.join(' ')).toBe('mistake')
      expect(JSON.stringify(read)).not.toContain('\\u001b')
    }
    expect(readUsageArguments(['--help'], NOON)).toMatchObject({ kind: 'text' })
  })
})

test('numbers are grouped, and money is never a float', async () => {
  expect([0, 999, 1000, 1_234_567].map(grouped)).toEqual(['0', '999', '1,000', '1,234,567'])
  expect(dollars(0, 4)).toBe('0.0000')
  expect(dollars(49, 4)).toBe('0.0000')
  expect(dollars(50, 4)).toBe('0.0001')
  expect(dollars(999_999, 4)).toBe('1.0000')
  expect(dollars(999_999, 6)).toBe('0.999999')
  expect(dollars(12_345_678_901, 4)).toBe('12,345.6789')
  expect(dollars(9_007_199_254_740_991, 6)).toBe('9007199254.740991')
  expect(visible('a\u200bb\n')).toBe('a\\u{200b}b\\u{a}')
})
