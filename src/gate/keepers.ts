// The upstreams that keep responses, chats, files and the like, which later requests can name.

import { RELAYED_ROUTES } from '../accept/routes.ts'
import type { Served } from '../dispatch/choose.ts'
import { isOwnAccount, isStored } from '../dispatch/stored.ts'
import type { Endpoint } from '../upstream/upstream.ts'

const KEPT: readonly Endpoint[] = RELAYED_ROUTES.filter(({ path }) => isStored(path)).flatMap(
  ({ dialects, method, path }) => dialects.map((dialect) => ({ dialect, method, path })),
)

/** Their names: the gate must know the owner of each object that they keep. */
export const keepersAmong = (served: readonly Served[]): ReadonlySet<string> =>
  new Set(
    served
      .filter((each) => !isOwnAccount(each) && KEPT.some((of) => each.upstream.serves(of)))
      .map(({ upstream }) => upstream.name),
  )
