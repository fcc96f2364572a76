// The port for what an operator's command asks of devices, codes and the audit trail, whichever database
// holds them. Every method is one whole operation: what it writes stands together with its audit entry,
// or not at all.

import type { Decision } from '../refusal.ts'
import type { Identities } from '../token/identity.ts'
import type { Entitlements } from './entitlements.ts'

/** Who did what, and when. */
export interface AuditedAct {
  /** Seconds since the epoch. */
  readonly at: number
  /** `cli`, `operator`, or `gate` for what the gate does on its own. */
  readonly actor: string
  /** `enrol`, `revoke`, `reuse`, … */
  readonly action: string
}

export interface AuditEntry extends AuditedAct {
  readonly subject: string
}

export interface AuditListed extends AuditEntry {
  readonly seq: number
  /** The device's label, if the subject names a device whose enrolment is still known. */
  readonly label: string | undefined
}

export interface AuditPage {
  readonly sinceSeconds: number
  /** The `seq` of the last entry seen. */
  readonly after: number
  readonly limit: number
}

export interface CodeTerms {
  readonly entitlements: Entitlements
  readonly uses: number
  /** Seconds from creation. */
  readonly lifetimeSeconds: number
  readonly label: string
}

export interface CodeMade {
  readonly name: string
  /** The only time that it is seen. */
  readonly code: string
  readonly expiresAt: number
}

export interface CodeListed {
  /** `code:7`: the code's name in listings and the audit trail, and the owner of its families. */
  readonly name: string
  readonly label: string
  readonly entitlements: Entitlements
  readonly uses: number
  readonly usesLeft: number
  readonly expiresAt: number
}

export interface FamilyListed {
  readonly seq: number
  readonly family: string
  readonly deviceHash: string
  readonly owner: string
  readonly label: string | undefined
  readonly name: string | undefined
  readonly entitlements: Entitlements
  readonly appVersion: string | undefined
  readonly createdAt: number
  /** `exp` of its newest token. */
  readonly expiresAt: number
  /** To the minute; undefined if it was never seen. */
  readonly seenAt: number | undefined
  readonly revokedAt: number | undefined
}

export interface FamilyFilter {
  readonly limit: number
  /** The `seq` of the last family seen. */
  readonly before?: number
  readonly user?: string | undefined
  readonly org?: string | undefined
  /**
   * Only families that are not revoked and whose newest token ended after this: they can come back.
   */
  readonly endedAfter?: number | undefined
}

export interface NamedDevice {
  readonly deviceHash: string
  /** The operator's label, or else the device's own name. */
  readonly label: string | undefined
  readonly orgId: string | undefined
  /** Undefined if they cannot be applied, so that every gate refuses the device. */
  readonly entitlements: Entitlements | undefined
}

/** How many devices that can come back name a policy, for themselves or as their user's. */
export interface DevicePolicy {
  readonly policy: string
  readonly count: number
}

export interface Withdrawn {
  readonly kind: 'family' | 'token' | 'device' | 'code' | 'user' | 'org'
  /** False if nothing has this name; a family or token is then still refused from now on. */
  readonly known: boolean
  /** The families that were alive until now. */
  readonly families: readonly string[]
  /** Some are still alive: the disk knows which, and a running gate ends them. */
  readonly unfinished?: true
}

/** Who revokes, and under which keys a device's own id is looked up. */
export interface RevokedBy extends Identities {
  readonly actor: string
  /** Seconds since the epoch. */
  readonly at: number
}

export interface DeviceRecords {
  makeCode(terms: CodeTerms, by: Omit<AuditedAct, 'action'>): Promise<CodeMade>
  /** Usable codes first, then the newest. */
  codes(nowSeconds: number): Promise<readonly CodeListed[]>
  /** A page, the newest first. */
  families(filter: FamilyFilter): Promise<readonly FamilyListed[]>
  /** Families that are not revoked and whose device calls itself this. */
  familiesCalled(name: string, limit: number): Promise<readonly FamilyListed[]>
  /**
   * `name`: a family, a token, `code:N`, `user:ID`, `org:ID`; otherwise a device, by its hash, by
   * its code's label, or by its own id. `unfinished` if the database failed before all was done.
   */
  revoke(name: string, by: RevokedBy): Promise<Withdrawn>
  /** The user of each device, by the device's hash, from its newest enrolment. */
  users(): Promise<ReadonlyMap<string, string>>
  policies(nowSeconds: number): Promise<readonly DevicePolicy[]>
  /** By hash, family, the device's own id, its label or its name. */
  named(name: string, by: Identities): Promise<readonly NamedDevice[]>
  /** The newest enrolment of each; a hash whose enrolments were pruned is missing. */
  ofHashes(hashes: readonly string[]): Promise<ReadonlyMap<string, NamedDevice>>
  /** Whether a device belongs to this organisation. */
  knowsOrg(org: string): Promise<boolean>
  /**
   * The policies named by an organisation's devices that can come back; null for devices that name
   * none.
   */
  policiesOfOrg(org: string, nowSeconds: number): Promise<readonly (string | null)[]>
}

export interface AuditRecords {
  /** In the order of writing. */
  entries(page: AuditPage): Promise<readonly AuditListed[]>
}

/** The operator's reads of devices and writes to the audit trail, over HTTP. */
export interface Register {
  /** A page, the newest first. */
  devices(page: Pick<FamilyFilter, 'limit' | 'before'>): Promise<Decision<readonly FamilyListed[]>>
  note(entry: AuditEntry): Promise<Decision<undefined>>
}
