// The bearer token of the control routes, by Elysia's own plugin. Only by the header: a token in a URL
// ends up in other people's logs. The plugin copies every header of a request and reads its query, so
// that it stays away from the routes that are relayed (1.1 µs of 50 for each).

import { bearer } from '@elysiajs/bearer'
import { type DeviceCredentials } from '../admit/device.ts'
import type { Arrival } from './arrival.ts'

/** The name of no member of a query or a body: a lone surrogate is in nothing that UTF-8 can write. */
const NOWHERE = '\ud800'

/**
 * Its hook is global: whatever is declared after it gets it, in every group up to the app. `group` and
 * `guard` with a function keep it inside.
 */
export const bearerOfHeader = bearer({
  extract: { header: 'Bearer', query: NOWHERE, body: NOWHERE },
})

/**
 * What came of credentials. The plugin takes what stands behind any seven characters that begin with
 * `Bearer`, and knows no other case of the word (RFC 9110 §11.1); whatever is not `Bearer` and a blank is
 * left as it came, for admit/bearer.ts to judge.
 */
export function sentCredentials(
  { target }: Arrival,
  { headers }: Request,
  token: string | undefined,
): DeviceCredentials {
  const sent = headers.get('authorization')
  return {
    authorization: token !== undefined && sent?.[6] === ' ' ? `Bearer ${token}` : sent,
    apiKey: headers.get('x-api-key'),
    query: target.search.slice(1),
  }
}
