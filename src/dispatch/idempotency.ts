// An upstream keeps the response to a request with an `Idempotency-Key` for the next request with that key,
// and tells its clients apart by the API key, which all callers of this gate share. So each caller's key is
// sent as a digest of both: a repeated request is still recognized, and no caller gets another's response.

import { createHash } from 'node:crypto'

export const IDEMPOTENCY = 'idempotency-key'

/** 64 hexadecimal digits, which tell the upstream neither the caller nor the key. */
export const idempotencyKey = (identity: string, key: string): string =>
  createHash('sha256').update(`${identity}\0${key}`).digest('hex')
