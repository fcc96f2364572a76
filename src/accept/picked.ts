// The upstream of a request, as far as it is chosen.

import type { Served } from '../dispatch/choose.ts'
import type { Decision } from '../refusal.ts'
import type { Inspected } from '../upstream/inspected.ts'

export interface PickedUpstream {
  readonly on: Served
  /** The candidates, `on` among them, before the model decides. */
  readonly among: readonly Served[]
  /** The inspection by `on`, within the policy. */
  readonly inspected: Inspected
  /** Undefined if the body was not read. */
  readonly held: Decision<Uint8Array> | undefined
}
