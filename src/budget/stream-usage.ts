// A policy's demand that a stream's usage is asked for: without `stream_options.include_usage` most
// servers of OpenAI's API tell nothing of it. The body goes out as it came; what lacks it is refused.
// A sealed body passes: the enclave tells its usage in a header or a trailer, whatever the body asks.

import { granted, refused } from '../refusal.ts'
import { type Limit, NOTHING_HELD } from './limit.ts'

const ROUTES: ReadonlySet<string> = new Set(['POST /v1/chat/completions', 'POST /v1/completions'])
const ALLOWED = granted(NOTHING_HELD)
const REFUSED = refused('stream_usage_required')

export const streamUsageLimit: Limit = {
  needsBody: ({ policy }, route, sealed) => policy.streamUsage && !sealed && ROUTES.has(route),
  decide: (_admitted, { isSilentStream }) => (isSilentStream === true ? REFUSED : ALLOWED),
}
