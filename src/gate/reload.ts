// Reloads the settings of a running gate: they are read and checked as a whole, and exchanged at once or
// not at all. config/table.ts marks the settings that can be exchanged. If one that needs a restart has
// changed, the others are not applied either: a new issuer without the rule that belongs to it would be a
// hole.
//
// A reading counts only if no file changed meanwhile, so that all files are from the same moment.
// Mistakes are logged once, and the settings are read again until they are valid.

import type { Mistake } from '../config/kinds.ts'
import { describeBug, type Logger } from '../log.ts'
import { changeOf, type Configuration } from './reload-change.ts'
import { stampsOf } from './reload-files.ts'
import { watchFiles, type WatchOptions } from './reload-watch.ts'

export type Reread =
  | {
      readonly ok: true
      readonly configuration: Configuration
      readonly files: readonly string[]
      /** About settings that are valid and may surprise. */
      readonly warnings: readonly string[]
    }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

export interface ReloadParts extends Omit<WatchOptions, 'seen' | 'onChange'> {
  readonly first: Configuration
  /** The document and the other files; a change of one of them causes a reload. */
  readonly files: readonly string[]
  /** The warnings of `first`. */
  readonly warnings: readonly string[]
  readonly reread: () => Reread
  /** Throws if it cannot, and then has changed nothing. */
  readonly exchange: (next: Configuration) => void
  readonly log: Logger
  readonly retryMs?: number
  readonly lookAgainMs?: number
}

export interface Reload {
  /** Reloads at once, for SIGHUP. */
  now(): void
  stop(): void
}

/** If a file changes during each of these readings, the next one waits a little. */
const MAX_READINGS = 3
/**
 * After a change, one more look finds what was written right after the reading: stamps are only as fine
 * as the file system's clock. After the start, it finds what was written while the database was opened:
 * the first stamps include that already, so no later look would.
 */
const LOOK_AGAIN_MS = 1000
/** While there are mistakes: a correction may not change a stamp. */
const RETRY_MS = 5000

export function reloading(parts: ReloadParts): Reload {
  const { reread, exchange, log, retryMs = RETRY_MS, lookAgainMs = LOOK_AGAIN_MS } = parts
  let current = parts.first
  let warned = parts.warnings
  let seen = stampsOf(parts.files)
  let stopped = false
  let later: ReturnType<typeof setTimeout> | undefined
  /** Whether something is not taken that was read last. */
  let isBehind = false
  /** Of that; it is told once for each change of a file. */
  let told: string | undefined

  const once = (text: string, tell: () => void): void => {
    if (told !== text) tell()
    told = text
    isBehind = true
  }
  /** Undefined where each reading met a change. */
  const read = (): Reread | undefined => {
    for (let tried = 0; tried < MAX_READINGS; tried += 1) {
      const before = seen
      const found = readSafely(reread)
      const paths = found.ok ? found.files : [...before.keys()]
      seen = stampsOf(paths)
      if (paths.every((path) => before.get(path) === seen.get(path))) return found
    }
    return undefined
  }
  const take = (
    { configuration: found, warnings }: Reread & { readonly ok: true },
    isAsked: boolean,
  ): void => {
    const change = changeOf(current, found)
    const changed = change.names.join(', ') || 'nothing'
    if (change.kind === 'restart') {
      const withheld = change.withheld?.join(', ')
      return once(changed, () =>
        log.warn(
          { changed, withheld, hint: change.hint },
          'settings have changed that need a restart; those of before go on',
        ),
      )
    }
    if (change.kind === 'exchange') {
      exchange(found)
      current = found
      for (const each of warnings) if (!warned.includes(each)) log.warn(each)
      warned = warnings
    }
    const isNews = change.kind === 'exchange' || isAsked || isBehind
    isBehind = false
    told = undefined
    if (isNews) log.info({ changed }, 'settings reloaded')
  }
  const lookAgain = (ms: number): void => {
    later = setTimeout(() => reload(false), ms)
    later.unref()
  }
  const reload = (isAsked: boolean): void => {
    if (stopped) return
    clearTimeout(later)
    later = undefined
    if (isAsked) told = undefined
    const found = read()
    if (!found) return lookAgain(lookAgainMs)
    if (!found.ok) {
      once(JSON.stringify(found.mistakes), () => tell(found.mistakes, log))
      return lookAgain(retryMs)
    }
    try {
      take(found, isAsked)
    } catch (error) {
      once('not exchanged', () =>
        log.error(describeBug(error), 'the settings cannot be exchanged; those of before go on'),
      )
    }
  }
  const watch = watchFiles({
    ...parts,
    seen: () => seen,
    onChange() {
      told = undefined
      reload(false)
      if (!later) lookAgain(lookAgainMs)
    },
  })
  lookAgain(lookAgainMs)
  return {
    now: () => reload(true),
    stop() {
      stopped = true
      clearTimeout(later)
      watch.stop()
    },
  }
}

/** What a message quotes comes out of a file; what is never closed is hidden to its end. */
const QUOTED = /"(?:[^"\\]|\\.)*"?/gs

function tell(mistakes: readonly Mistake[], log: Logger): void {
  for (const { setting, message, hint } of mistakes) {
    log.error({ hint }, `${setting} ${message.replace(QUOTED, '"…"')}`)
  }
  log.error('the settings have mistakes and are not taken; those of before go on')
}

function readSafely(reread: () => Reread): Reread {
  try {
    return reread()
  } catch (error) {
    const { error: name } = describeBug(error)
    const hint = 'report it: this is a mistake of the program'
    return {
      ok: false,
      mistakes: [{ setting: 'the settings', message: `cannot be read: ${name}`, hint }],
    }
  }
}
