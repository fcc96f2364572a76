// What each signal does to a running gate. Only the second stopping signal ends it at once.

import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { Logger } from './log.ts'
import { isTerminal } from './terminal.ts'

/**
 * These drain: the gate ends with its last request. Images made for nginx are stopped by SIGQUIT.
 */
const STOPS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGQUIT']
/** Each of these would end a process without a handler. */
const IGNORED: readonly NodeJS.Signals[] = ['SIGUSR1', 'SIGUSR2']

/**
 * One Ctrl-C arrives twice: from the terminal, and again, as either signal, from `bun run` or just.
 */
const SAME_KEYSTROKE_MS = 150

export interface Stop {
  /** From now on a signal drains the gate; before, there is nothing to drain. */
  readonly drainWith: (drain: () => Promise<void>) => void
  /** From now on SIGHUP reloads; before, nothing can have changed. */
  readonly reloadWith: (reload: () => void) => void
}

/** `end` ends the process, once the log's last lines are written. */
export function obeySignals(log: Logger, end: (exitCode: number) => void): Stop {
  let drain: () => Promise<void> = () => Promise.resolve()
  let reload: (() => void) | undefined
  let first: { readonly signal: NodeJS.Signals; readonly at: number } | undefined
  const stop = (signal: NodeJS.Signals): void => {
    const at = performance.now()
    if (first?.signal === 'SIGINT' && at - first.at < SAME_KEYSTROKE_MS) return
    if (first) process.exit(128 + constants.signals[signal])
    first = { signal, at }
    log.info({ signal }, 'draining; a second signal ends it at once')
    drain().then(
      () => {
        log.info('stopped')
        end(0)
      },
      () => end(1),
    )
  }
  for (const signal of STOPS) process.on(signal, stop)
  for (const signal of IGNORED) {
    process.on(signal, () => log.info({ signal }, 'this signal means nothing here'))
  }
  // `nohup` makes the process ignore it, and it stays ignored.
  if (!isIgnored('SIGHUP')) {
    const onTerminal = isTerminal(1)
    process.on('SIGHUP', () => {
      // The terminal that started it was closed: nobody is left there to stop it.
      if (onTerminal && !isTerminal(1)) return stop('SIGHUP')
      if (reload && !first) return reload()
      log.info(
        { signal: 'SIGHUP' },
        'nothing to reload: settings are read at start, and the log is stdout',
      )
    })
  }
  return {
    drainWith(given) {
      drain = given
    },
    reloadWith(given) {
      reload = given
    },
  }
}

/** Whether this process was started that way. Only Linux can tell. */
function isIgnored(signal: NodeJS.Signals): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    const bit = 1n << BigInt(constants.signals[signal] - 1)
    return (BigInt(`0x${mask ?? '0'}`) & bit) !== 0n
  } catch {
    return false
  }
}
