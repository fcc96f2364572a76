// What an answer of OpenAI's API says that it used, by its route.

import type { AnswerHeaders } from '../../http1/fields.ts'
import { openAiUsageMeter } from '../reading/openai-usage.ts'
import type { Kept } from '../reading/kept.ts'
import { NO_USAGE } from '../reading/tally.ts'
import type { Asked, UsageMeter } from '../upstream.ts'

const FREE: UsageMeter = { end: () => NO_USAGE }
const SILENT: UsageMeter = { end: () => undefined }
const MODERATIONS = '/v1/moderations'
/** What was made before is told again, and not made. */
const STORED = '/v1/responses/'
/** What streams there is sound or picture. */
const NO_TEXT = /^\/v1\/(?:images\/|audio\/speech$)/

export function openAiMeter(
  { method, path }: Pick<Asked, 'method' | 'path'>,
  status: number,
  headers: AnswerHeaders,
  kept?: Kept,
): UsageMeter {
  if (method !== 'POST' || path === MODERATIONS || path.startsWith(STORED)) return FREE
  if (status >= 300) return SILENT
  const { 'content-type': type, 'content-encoding': coding } = headers
  return openAiUsageMeter(type, coding, !NO_TEXT.test(path), kept) ?? SILENT
}
