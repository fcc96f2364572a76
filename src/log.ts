// Logs one line for each request, when it ends, and a few for the life of the process. JSON lines are
// pino's; the text form is for people. Both go to one output (log-output.ts): pino's transports run in
// a worker, which a compiled binary does not have.

import { styleText } from 'node:util'
import pino, { type DestinationStream, type Logger } from 'pino'
import { visible } from './terminal.ts'
import type { Settings } from './config/read.ts'
import type { LogOutput } from './log-output.ts'

export type { Logger }

/** `color`: colour the text form, on a terminal that wants it. */
export function logger(
  { logFormat, logLevel }: Pick<Settings, 'logFormat' | 'logLevel'>,
  color: boolean,
  output: LogOutput,
): Logger {
  const options: pino.LoggerOptions = {
    level: logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  }
  const stream =
    logFormat === 'json'
      ? { write: (line: string, urgent = isUrgent(line)) => output.write(line, urgent) }
      : textLines((line, urgent) => output.write(line, urgent), color)
  const log = pino(options, stream)
  output.onRecovery(({ lines, sinceMs, reason }) => {
    const since = new Date(sinceMs).toISOString()
    // At error level, so that every level except `silent` shows it.
    log.error({ lost: lines, since, reason }, 'lines were lost while the log could not be written')
  })
  return log
}

/** From now on no less than this. */
export function setLevel(log: Logger, level: Settings['logLevel']): void {
  log.level = level
}

/** Its lines with these members more, and at the level that it has by then. */
export const telling = (
  log: Logger,
  members: Readonly<Record<string, unknown>>,
): Pick<Logger, 'info' | 'warn' | 'error'> => ({
  info: (fields: object, words?: string) => log.info({ ...members, ...fields }, words),
  warn: (fields: object, words?: string) => log.warn({ ...members, ...fields }, words),
  error: (fields: object, words?: string) => log.error({ ...members, ...fields }, words),
})

/** Is kept when a log that cannot be written drops other lines. */
const isUrgent = (json: string): boolean => json.startsWith('{"level":"error"')

export type Level = 'debug' | 'info' | 'warn' | 'error'

/**
 * Logs a request. The line has pino's form and goes to pino's stream, but is made by one
 * `JSON.stringify`: made by pino it cost a tenth of the whole request. Undefined fields are left
 * out, and at least one field must be there.
 */
export function logRequest(
  log: Logger,
  level: Level,
  fields: Readonly<Record<string, unknown>>,
): void {
  if (!log.isLevelEnabled(level)) return
  const members = JSON.stringify(fields).slice(1, -1)
  const time = isoTime(Date.now())
  const line = `{"level":"${level}","time":"${time}",${members},"msg":"request"}\n`
  // To ask the line itself would put its pieces together, which is done once for all lines of a turn.
  streamOf(log).write(line, level === 'error')
}

let said = ''
let saidMs = Number.NaN

/**
 * Formatted once a millisecond: many requests end in the same one, and formatting was a third of
 * the cost.
 */
function isoTime(nowMs: number): string {
  if (nowMs !== saidMs) {
    said = new Date(nowMs).toISOString()
    saidMs = nowMs
  }
  return said
}

interface LineStream {
  write(line: string, urgent?: boolean): void
}

const streamOf = (log: Logger): LineStream =>
  (log as Logger & Readonly<Record<symbol, LineStream>>)[pino.symbols.streamSym] as LineStream

/**
 * Describes an unexpected error: its kind and place, but not its message, which may quote anything.
 */
export function describeBug(error: unknown): { error: string; at?: string[] } {
  if (!(error instanceof Error)) return { error: typeof error }
  // The message comes first in the stack, and may have lines that look like frames.
  const stack = (error.stack ?? '').replace(error.message, () => '')
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line))
  return { error: error.name, at: frames.slice(0, 8).map((line) => line.trim()) }
}

/** Turns pino's JSON lines into lines for people. */
export function textLines(
  write: (line: string, urgent: boolean) => void,
  color: boolean,
): DestinationStream {
  const paint: Paint = (style, text) =>
    // The caller has already decided whether this is a terminal.
    color ? styleText(style, visible(text), { validateStream: false }) : visible(text)
  return {
    write(json: string): void {
      const { time, level, msg, ...fields }: Record<string, unknown> = JSON.parse(json)
      const clock = paint('dim', String(time).slice(11, 23))
      const label = paint(TINTS[String(level)] ?? 'dim', String(level).toUpperCase().padEnd(5))
      const words =
        msg === 'request' ? requestWords(fields, paint) : [visible(String(msg)), ...pairs(fields)]
      write(`${clock} ${label} ${words.join('  ')}\n`, level === 'error')
    },
  }
}

type Style = 'dim' | 'red' | 'yellow' | 'green' | 'cyan'

const TINTS: Readonly<Record<string, Style>> = {
  error: 'red',
  warn: 'yellow',
  info: 'green',
  debug: 'cyan',
}

type Paint = (style: Style, text: string) => string

function requestWords(fields: Record<string, unknown>, paint: Paint): string[] {
  const { method, route, status, end, headers_ms, duration_ms, bytes_in, bytes_out, ...more } =
    fields
  const { identity, request_id, input_tokens, output_tokens, ...others } = more
  const { usage, cache_read_tokens, cache_creation_tokens, cost_micro_usd, ...rest } = others
  const cached = Number(cache_read_tokens ?? 0) + Number(cache_creation_tokens ?? 0)
  const first = headers_ms === undefined ? '' : ` (headers ${duration(Number(headers_ms))})`
  return [
    visible(`${method} ${route}`),
    visible(String(status)),
    visible(String(end)),
    duration(Number(duration_ms)) + first,
    `${size(Number(bytes_in))} in, ${size(Number(bytes_out))} out`,
    ...(input_tokens === undefined
      ? []
      : [
          visible(`${input_tokens} → ${output_tokens} tokens`) +
            (cached > 0 ? ` (${cached} by cache)` : '') +
            (usage === 'partial' ? ' so far' : ''),
        ]),
    ...(cost_micro_usd === undefined ? [] : [`$${(Number(cost_micro_usd) / 1e6).toFixed(4)}`]),
    ...pairs(rest),
    ...(identity === undefined ? [] : [paint('dim', `who=${String(identity).slice(0, 12)}`)]),
    paint('dim', `id=${request_id}`),
  ]
}

function pairs(fields: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(fields).map(([name, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    return visible(`${name}=${/[\s"]/.test(text) ? JSON.stringify(text) : text}`)
  })
}

function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${(ms / 1000).toFixed(1)}s`
}

function size(bytes: number): string {
  if (bytes < 1000) return `${bytes}B`
  return bytes < 1_000_000
    ? `${(bytes / 1000).toFixed(1)}kB`
    : `${(bytes / 1_000_000).toFixed(1)}MB`
}
