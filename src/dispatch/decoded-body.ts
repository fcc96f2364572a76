// Decodes a request's body if a limit depends on its content. The upstream gets the body as it came; the
// decoded body is read and dropped.
//
// The upstream must read the same body as we do. So deflate means the zlib format only, and nothing but white
// space may follow the JSON, whatever a decoder makes of bytes after the end of the coded data.

import type { BrotliDecompress, Gunzip, Inflate, ZstdDecompress } from 'node:zlib'
import { type Decision, granted, refused } from '../refusal.ts'
import { tooLarge } from '../upstream/inspected.ts'
import { BodyRefused } from './body.ts'
import type { Coding } from './content-coding.ts'

/** The greatest compression ratio. One repeated letter reaches 1,000; real prompts stay below 30. */
const MAX_RATIO = 200
/** Small bodies may have any ratio. */
const ALWAYS_ALLOWED_BYTES = 1_048_576

/**
 * At most `maxBytes`, and beyond 1 MiB at most 200 times what was sent. `take` is called with each piece
 * before it is kept, and may throw a BodyRefused.
 */
export async function decodeWhole(
  body: Uint8Array,
  codings: readonly Coding[],
  maxBytes: number,
  take: (bytes: number) => void,
): Promise<Decision<Uint8Array>> {
  const most = Math.min(maxBytes, Math.max(ALWAYS_ALLOWED_BYTES, body.byteLength * MAX_RATIO))
  let decoded = body
  try {
    for (const coding of codings.toReversed()) decoded = await undo(coding, decoded, most, take)
    return granted(decoded)
  } catch (error) {
    if (error instanceof BodyRefused) return error.refusal
    return refused('broken_encoding', {
      message: `the body is not what its Content-Encoding says: ${codings.join(', ')}`,
    })
  }
}

/** Runs on node:zlib's threads, so that a large body does not block the event loop. */
function undo(
  coding: Coding,
  body: Uint8Array,
  most: number,
  take: (bytes: number) => void,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const stream = DECODERS[coding]()
    const chunks: Uint8Array[] = []
    let bytes = 0
    const fail = (error: unknown): void => {
      stream.destroy()
      reject(error)
    }
    stream.on('error', fail)
    stream.on('data', (chunk: Uint8Array) => {
      bytes += chunk.byteLength
      try {
        if (bytes > most) throw new BodyRefused(tooLarge(most, 'the decoded body'))
        take(chunk.byteLength)
      } catch (error) {
        return fail(error)
      }
      chunks.push(chunk)
    })
    stream.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : concat(chunks)))
    stream.end(body)
  })
}

const concat = (chunks: readonly Uint8Array[]): Uint8Array => Buffer.concat(chunks)

/** Loaded for the first coded body. */
const zlib = () => process.getBuiltinModule('node:zlib')
const PIECE = { chunkSize: 262_144 }
/** RFC 9659 §3: no content coding needs a larger window than 8 MiB. */
const ZSTD_WINDOW_LOG = 23

const DECODERS: Readonly<
  Record<Coding, () => Gunzip | Inflate | BrotliDecompress | ZstdDecompress>
> = {
  gzip: () => zlib().createGunzip(PIECE),
  deflate: () => zlib().createInflate(PIECE),
  br: () => zlib().createBrotliDecompress(PIECE),
  zstd: () =>
    zlib().createZstdDecompress({
      ...PIECE,
      params: { [zlib().constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG },
    }),
}
