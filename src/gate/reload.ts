// Settings that change under a running gate: read whole, judged whole, exchanged at once or not at all.
// What can be exchanged is what a request reads once, where it needs it: the upstreams' keys, the
// operator's token, the issuers, and the policies. A change of anything else needs a restart, and until then none
// of the changes beside it counts: a new issuer without the rule that belongs to it would be a hole.

import { statSync } from 'node:fs'
import type { Given } from '../config/given.ts'
import type { Mistake } from '../config/kinds.ts'
import type { Settings } from '../config/read.ts'
import { type Key, KEYS, settingOf } from '../config/table.ts'
import type { Logger } from '../log.ts'
import { Secret } from '../secret.ts'

/** What policies are made of; each may come and go. */
const POLICIES: ReadonlySet<string> = new Set<keyof Settings>([
  'policies',
  'rateLimitRpm',
  'maxIdentityConcurrency',
  'orgSpendCap',
  // Read by `postern key` alone.
  'keyPolicy',
  'keyExpires',
  'keyMaxLifetime',
  'keyRotationOverlap',
])

/** Of these, the value may change; that there is one may not. */
const EXCHANGED: ReadonlySet<string> = new Set<keyof Settings>([
  'tinfoilApiKey',
  'anthropicApiKey',
  'adminToken',
  'issuers',
  // Those of a single issuer; `issuers` has them, too.
  'issuer',
  'jwksUrl',
  'audiences',
  'jwksRefreshSeconds',
  'jwksMaxStaleSeconds',
])

export type Change =
  | { readonly kind: 'none' }
  | { readonly kind: 'exchange'; readonly names: readonly string[] }
  | { readonly kind: 'restart'; readonly names: readonly string[] }

/** What is different, by the names of the settings. */
export function changeOf(before: Settings, after: Settings): Change {
  const members = [
    ...new Set([...Object.keys(before), ...Object.keys(after)]),
  ] as (keyof Settings)[]
  const changed = members.filter((each) => !isSame(before[each], after[each]))
  if (changed.length === 0) return { kind: 'none' }
  const lasting = changed.filter(
    (each) =>
      !POLICIES.has(each) &&
      (!EXCHANGED.has(each) || isEmpty(before[each]) !== isEmpty(after[each])),
  )
  // The issuer's own members may come and go, as long as there is an issuer.
  const single = new Set<string>(['issuer', 'jwksUrl', 'audiences'])
  const needing = lasting.filter((each) => !single.has(each))
  return needing.length > 0
    ? { kind: 'restart', names: needing.map(nameOf) }
    : { kind: 'exchange', names: changed.map(nameOf) }
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.length === 0)

const nameOf = (member: string): string =>
  KEYS.includes(member as Key) ? settingOf(member as Key).env : member

/** Secrets by what they hold, and addresses by their text. */
function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Secret && b instanceof Secret) return a.reveal() === b.reveal()
  if (a instanceof URL && b instanceof URL) return a.href === b.href
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if (a.constructor !== b.constructor) return false
  const [mine, theirs] = [Object.entries(a), new Map(Object.entries(b))]
  return (
    mine.length === theirs.size &&
    mine.every(([name, value]) => theirs.has(name) && isSame(value, theirs.get(name)))
  )
}

export type Reread =
  | { readonly ok: true; readonly settings: Settings; readonly files: readonly string[] }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

export interface ReloadParts {
  readonly settings: Settings
  /** The document and the files of secrets, which are read again where one of them changes. */
  readonly files: readonly string[]
  readonly reread: () => Reread
  /** Throws where it cannot, and has then changed nothing. */
  readonly exchange: (settings: Settings) => void
  readonly log: Logger
}

export interface Reload {
  /** As SIGHUP asks for it. */
  now(): void
  stop(): void
}

/** Editors and Kubernetes put another file in its place: what stands at the path is what counts. */
const POLL_MS = 1000

export function reloading({ reread, exchange, log, ...parts }: ReloadParts): Reload {
  let { settings, files } = parts
  let seen = stamp(files)

  const rereadSafely = (): Reread => {
    try {
      return reread()
    } catch {
      return { ok: false, mistakes: [] }
    }
  }
  const reload = (): void => {
    seen = stamp(files)
    const read = rereadSafely()
    if (!read.ok) {
      for (const { setting, message, hint } of read.mistakes) {
        log.error({ hint }, `${setting} ${message}`)
      }
      log.error('the settings have mistakes and are not taken; those of before go on')
      return
    }
    const change = changeOf(settings, read.settings)
    if (change.kind === 'restart') {
      const changed = change.names.join(', ')
      log.warn({ changed }, 'settings have changed that need a restart; those of before go on')
      return
    }
    if (change.kind === 'exchange') {
      try {
        exchange(read.settings)
      } catch {
        log.error('the settings cannot be exchanged; those of before go on')
        return
      }
      settings = read.settings
    }
    files = read.files
    seen = stamp(files)
    const changed = change.kind === 'exchange' ? change.names.join(', ') : 'nothing'
    log.info({ changed }, 'settings reloaded')
  }
  const timer = setInterval(() => {
    if (stamp(files) !== seen) reload()
  }, POLL_MS)
  timer.unref()
  return {
    now: reload,
    stop: () => clearInterval(timer),
  }
}

/** Another text where a file was written, replaced, or made to point elsewhere. */
function stamp(files: readonly string[]): string {
  return files.map(stampOf).join()
}

function stampOf(path: string): string {
  try {
    const { dev, ino, mtimeMs, ctimeMs, size } = statSync(path)
    return [dev, ino, mtimeMs, ctimeMs, size].join(':')
  } catch {
    return 'none'
  }
}

/** The files from which settings came. */
export function filesOf(document: string | undefined, given: ReadonlyMap<Key, Given>): string[] {
  const secrets = [...given.values()].flatMap(({ written }) =>
    written && 'file' in written ? [written.file] : [],
  )
  return [...(document === undefined ? [] : [document]), ...secrets]
}
