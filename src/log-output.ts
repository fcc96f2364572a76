// Writes log lines out of the process. The reader may be full, slow or gone, and may return: no line
// ever waits for it, and the memory of waiting lines is bounded. Lines of a few milliseconds leave in one
// write. Lines without room are counted, and the count is reported once there is room again.

import { constants, fstatSync, openSync, writeSync, write as writeLater } from 'node:fs'
import { isTerminal } from './terminal.ts'

export interface LogOutput {
  /** Takes whole lines. `urgent` lines have room of their own when everything else is dropped. */
  write(lines: string, urgent?: boolean): void
  /** Called with the number of lost lines, as soon as lines can be written again. */
  onRecovery(report: (lost: Lost) => void): void
  /** Resolves when nothing waits any more, or after this time if it cannot be written. */
  finish(withinMs: number): Promise<void>
}

export interface Lost {
  readonly lines: number
  readonly sinceMs: number
  /** The code of the last error; `EAGAIN` if the reader did not read. */
  readonly reason: string
}

/** A write for each request took a twentieth of it, in the turn that answers it. */
const GATHER_MS = 4
/** At this size a piece is written at once. */
const MAX_GATHERED_CHARS = 65_536
/** The bound on lines that wait for a reader: a few thousand requests. */
const MAX_WAITING_CHARS = 1_048_576
const URGENT_CHARS = 131_072
/** A slow reader is retried soon, a full disk once a second. */
const FIRST_RETRY_MS = 5
const MAX_SLOW_RETRY_MS = 200
const MAX_FAILED_RETRY_MS = 1000
const FINISH_POLL_MS = 5
/** The reader did not read. */
const SLOW = 'EAGAIN'

export function logOutput(fd = 1): LogOutput {
  const send = sender(fd)
  /** Lines that are not in `piece` yet. */
  let waiting = ''
  /** What is being written, from `at` on: half a line may have left already. */
  let piece: Uint8Array | undefined
  let at = 0
  let state: 'idle' | 'due' | 'in flight' | 'waiting' = 'idle'
  let retryMs = 0
  let trouble = ''
  let lost = 0
  let lostSinceMs = 0
  let report: (lost: Lost) => void = () => {}

  const flush = (): void => {
    state = 'idle'
    while (state === 'idle') {
      if (!piece) {
        if (waiting === '') return tellLost()
        piece = Buffer.from(waiting)
        at = 0
        waiting = ''
      }
      try {
        const sent = send.now(piece, at)
        if (typeof sent === 'number') took(sent)
        else {
          state = 'in flight'
          sent.then(
            (bytes) => {
              took(bytes)
              flush()
            },
            (error: unknown) => failed(error),
          )
        }
      } catch (error) {
        failed(error)
      }
    }
  }
  const flushDue = (): void => {
    if (state === 'due') flush()
  }
  const took = (bytes: number): void => {
    retryMs = 0
    at += bytes
    if (piece && at >= piece.byteLength) piece = undefined
  }
  const failed = (error: unknown): void => {
    trouble = String((error as { code?: unknown }).code ?? 'unknown')
    const slow = trouble === SLOW
    retryMs = Math.min(
      Math.max(FIRST_RETRY_MS, retryMs * 2),
      slow ? MAX_SLOW_RETRY_MS : MAX_FAILED_RETRY_MS,
    )
    state = 'waiting'
    setTimeout(flush, retryMs).unref()
  }
  /** Only when everything has left: then the count is where the lines are missing. */
  const tellLost = (): void => {
    if (lost === 0) return
    const told = { lines: lost, sinceMs: lostSinceMs, reason: trouble }
    lost = 0
    report(told)
  }

  process.on('exit', () => {
    // `finish` has already waited for a slow reader.
    if (state === 'idle' || state === 'due') sendLast(send.last, Buffer.from(waiting))
    else if (state === 'waiting') flush()
  })
  return {
    write(lines, urgent = false) {
      const room = MAX_WAITING_CHARS + (urgent ? URGENT_CHARS : 0)
      // Once lines are dropped, all are dropped until there is room: one gap, counted once.
      if ((lost > 0 && !urgent) || waiting.length + lines.length > room) {
        if (lost === 0) lostSinceMs = Date.now()
        lost += 1
        return
      }
      waiting += lines
      if (state === 'idle') {
        state = 'due'
        if (urgent) setImmediate(flushDue)
        else setTimeout(flushDue, GATHER_MS)
      } else if (state === 'due' && waiting.length > MAX_GATHERED_CHARS) flush()
    },
    onRecovery(told) {
      report = told
    },
    async finish(withinMs) {
      const deadlineMs = performance.now() + withinMs
      if (state !== 'in flight') flush()
      const mayStill = (): boolean =>
        state === 'waiting' ? trouble === SLOW : state !== 'idle' || waiting !== ''
      while (mayStill() && performance.now() < deadlineMs) await Bun.sleep(FINISH_POLL_MS)
    },
  }
}

/** At exit, when nothing can be sent later. */
function sendLast(last: Sender['last'], bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.byteLength;) at += last(bytes, at)
  } catch {
    // There is nobody left to report to.
  }
}

/** Both send `bytes` from `at` on, and return how many were accepted. */
interface Sender {
  /** Never waits for the reader. */
  readonly now: (bytes: Uint8Array, at: number) => number | Promise<number>
  /** For the end of the process. */
  readonly last: (bytes: Uint8Array, at: number) => number
}

/**
 * A file accepts a write or refuses it. A pipe or a terminal may block a write for ever. Setting
 * O_NONBLOCK on it would change it for every process that has it, so on Linux we open it a second
 * time for ourselves. Where that is impossible (a socket, another system), a thread of the pool may
 * wait.
 */
function sender(fd: number): Sender {
  const own = mayWait(fd) ? openedAgain(fd) : fd
  const last: Sender['last'] = (bytes, at) => writeSync(own ?? fd, bytes, at)
  return { now: own === undefined ? (bytes, at) => sendLater(fd, bytes, at) : last, last }
}

function mayWait(fd: number): boolean {
  try {
    const about = fstatSync(fd)
    return !about.isFile() && (!about.isCharacterDevice() || isTerminal(fd))
  } catch {
    return false
  }
}

function openedAgain(fd: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY)
  } catch {
    return undefined
  }
}

function sendLater(fd: number, bytes: Uint8Array, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    writeLater(fd, bytes, at, bytes.byteLength - at, null, (error, sent) => {
      if (error) reject(error)
      else resolve(sent)
    })
  })
}
