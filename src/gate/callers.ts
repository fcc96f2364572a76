// Assembles what admits each kind of caller: users, devices, keys, and the one person who signs in.

import type { Admissions } from '../accept/door.ts'
import { type Issuers, issuers } from '../admit/issuers.ts'
import { type AdmitKey, keyAdmission } from '../admit/key.ts'
import { warnOfLostPolicies } from './lost-policies.ts'
import type { DatabaseConnection } from '../database/connection.ts'
import type { DatabaseFollower } from '../database/follow.ts'
import type { Ask } from '../http1/ask.ts'
import { type Keyring, keyring } from '../keys/keyring.ts'
import type { Logger } from '../log.ts'
import { CALLER_KINDS, type CallerKind } from '../names.ts'
import type { SpendCaps } from '../state/port.ts'
import { instant } from '../turn/instant.ts'
import { admissions } from './admissions.ts'
import { type Enrolling, enrolling } from './enrolling.ts'
import { hasSpent, identitiesOf } from './identities.ts'
import { exchangeablePolicies } from './policies.ts'
import type { Configuration } from './reload-change.ts'
import type { Prepare } from './remade.ts'
import type { SigningIn } from './signing-in.ts'
import type { Sources } from './sources.ts'
import { memoryCounters } from './state.ts'

export interface CallersOptions {
  readonly first: Configuration
  readonly from: Sources
  readonly ask: Ask
  readonly file: DatabaseFollower
  /** To the tables of enrolments and keys. */
  readonly connection: DatabaseConnection
  readonly caps: SpendCaps
  /** Called for a person who was known under these names before. */
  readonly noteFormer: (identity: string, former: readonly string[]) => void
  readonly log: Logger
  readonly listeningAt: () => URL
}

export interface Callers {
  readonly users: Issuers | undefined
  readonly enrolled: Enrolling | undefined
  readonly signIn: SigningIn | undefined
  readonly apiKeys: Keyring
  readonly admissions: Admissions
  /** The kinds that this gate admits. */
  readonly kinds: readonly CallerKind[]
  readonly prepares: readonly Prepare[]
  /** Call it after a reload was committed. */
  prepared(): void
  start(): void
  /** Reads what other processes have written into the database. */
  poll(): void
  /** Resolves when pending writes are on the disk. */
  stop(): Promise<void>
}

/**
 * When the issuers' key sets are first read. The first connection costs 2 ms, which the gate's first
 * request would wait for as well; a token that arrives earlier has them read at once.
 */
const AFTER_START_MS = 1

/** Rejects if the tables of enrolment cannot be used. */
export async function callers(options: CallersOptions): Promise<Callers> {
  const { first, from, ask, file, connection, caps, noteFormer, log, listeningAt } = options
  const { settings } = first
  const naming = identitiesOf(first, from)
  const { identify, former } = naming
  const allowed = exchangeablePolicies(first)
  const { policyOf } = allowed
  const users =
    from.issuers.length > 0
      ? issuers(from.issuers, {
          ask,
          identify,
          former,
          // After the request, because it may write to the disk.
          onFormer(identity, names) {
            noteFormer(identity, names)
            setImmediate(() => enrolled?.enrollment.renameUser(identity, names))
          },
          policyOf,
          log,
        })
      : undefined
  const apiKeys = keyring({ connection, log })
  let keysNow = keyAdmission(apiKeys, policyOf)
  const admitKey: AdmitKey = (key, at) => keysNow(key, at)
  const enrolled =
    from.deviceSecrets.length === 0
      ? undefined
      : enrolling({
          counters: memoryCounters,
          settings,
          from,
          connection,
          identify,
          former: { identify: former, hasSpent: (hash, now) => hasSpent(caps, hash, now) },
          policyOf: allowed.ofDevice,
          log,
          listeningAt,
          admitKey,
        })
  const signIn =
    from.login &&
    // Loaded only with sign-in.
    (await import('./on-demand.ts')).signingIn({
      ask,
      settings,
      from: from.login,
      file,
      identify,
      former,
      policyOf,
      log,
      listeningAt,
    })
  let reading: NodeJS.Timeout | undefined
  const admitting = admissions({
    admitUser: users?.admit,
    admitDevice: enrolled?.admitDevice,
    admitKey,
    admitSession: signIn?.admitSession,
  })
  return {
    users,
    enrolled,
    signIn,
    apiKeys,
    admissions: admitting,
    kinds: CALLER_KINDS.filter((kind) => admitting[kind]),
    prepares: [
      naming.prepare,
      allowed.prepare,
      ({ settings: next }) => users?.prepare(next.issuers, policyOf) ?? NOTHING,
      enrolled?.prepare ?? NOTHING_PREPARED,
      signIn?.prepare ?? NOTHING_PREPARED,
    ],
    prepared() {
      // The old one remembers decisions by the previous policies.
      keysNow = keyAdmission(apiKeys, policyOf)
      warnOfLostPolicies(apiKeys, policyOf, log, instant())
    },
    start() {
      reading = setTimeout(() => users?.start(), AFTER_START_MS)
      enrolled?.enrollment.start()
      apiKeys.start()
      warnOfLostPolicies(apiKeys, policyOf, log, instant())
    },
    poll() {
      enrolled?.enrollment.poll(instant())
      apiKeys.poll(instant())
    },
    async stop() {
      clearTimeout(reading)
      users?.stop()
      enrolled?.enrollment.stop()
      apiKeys.stop()
      await signIn?.close()
    },
  }
}

const NOTHING = (): void => {}
const NOTHING_PREPARED: Prepare = () => NOTHING
