// Decodes content codings (RFC 9110 §8.4.1) for reading along: a copy is decoded piece by piece, and
// the encoded bytes pass on unchanged. A broken coding falls silent; it never throws.
//
// node:zlib's streams hand each piece to a thread: 20 µs of CPU for each event of a stream, and an end
// that must be awaited. Their handles decode in place in 1.6 µs. That call is private to node:zlib, so
// only this file uses it, and if it is missing, decoding is `undefined`.

/** Reads bytes as they come; a piece is valid only during the call. */
export interface Sink {
  push(bytes: Uint8Array): void
}

export interface Decoding extends Sink {
  close?(): void
  /** True if it broke or reached its bound: later bytes were not read. */
  readonly isSilent?: boolean
}

/** The part of node:zlib's native handle that is used here. */
interface Handle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputAt: number,
    inputBytes: number,
    output: Uint8Array,
    outputAt: number,
    outputBytes: number,
  ): void
}

interface ContentDecoder {
  readonly handle: Handle
  /** After each write: free bytes in the output, unread bytes in the input. */
  readonly left: Uint32Array
  readonly flush: number
  close(): void
}

/** 50 times the longest response; a decompression bomb (RFC 1951 §3.2.5) stops here. */
export const MAX_DECODED_BYTES = 128 * 1024 * 1024

/** Loaded for the first encoded response: many gates never see one, and it takes 2 MB. */
const zlib = () => process.getBuiltinModule('node:zlib')
/** RFC 9659 §3: no content coding needs a larger window than 8 MiB. */
const ZSTD_WINDOW_LOG = 23
/** Node's own buffer, which is unused here; this is its minimum. */
const SMALLEST = { chunkSize: 64 }

// Decoding is synchronous, so one buffer serves every stream: a reader copies what it keeps.
const output = new Uint8Array(65_536)

const CODINGS: ReadonlyMap<string, (first: number) => ContentDecoder | undefined> = new Map([
  ['gzip', () => coding(zlib().createGunzip(SMALLEST), zlib().constants.Z_SYNC_FLUSH)],
  ['x-gzip', () => coding(zlib().createGunzip(SMALLEST), zlib().constants.Z_SYNC_FLUSH)],
  [
    'deflate',
    // RFC 9110 §8.4.1.2: the zlib format; some send raw deflate. In the former, CM is 8 in the
    // first byte.
    (first: number) => {
      const isZlib = (first & 0x0f) === 8
      const stream = isZlib ? zlib().createInflate(SMALLEST) : zlib().createInflateRaw(SMALLEST)
      return coding(stream, zlib().constants.Z_SYNC_FLUSH)
    },
  ],
  [
    'br',
    () => coding(zlib().createBrotliDecompress(SMALLEST), zlib().constants.BROTLI_OPERATION_FLUSH),
  ],
  [
    'zstd',
    () => {
      const params = { [zlib().constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG }
      const stream = zlib().createZstdDecompress({ ...SMALLEST, params })
      return coding(stream, zlib().constants.ZSTD_e_flush)
    },
  ],
])

/** Decodes for `to`. Undefined if the coding is unknown, or more than one. */
export function decoding(contentEncoding: string | undefined, to: Sink): Decoding | undefined {
  const name = contentEncoding?.trim().toLowerCase() ?? ''
  if (name === '' || name === 'identity') return to
  const open = CODINGS.get(name)
  if (!open) return undefined

  let opened: ContentDecoder | undefined
  let over = false
  let isSilent = false
  let decodedBytes = 0
  const close = (): void => {
    over = true
    opened?.close()
    opened = undefined
  }
  const fallSilent = (): void => {
    isSilent = true
    close()
  }
  return {
    push(chunk) {
      const first = chunk[0]
      if (over || first === undefined) return
      if (!opened) {
        opened = open(first)
        if (!opened) return fallSilent()
        Object.assign(opened.handle, { onerror: fallSilent })
      }
      const { handle, left, flush } = opened
      let at = 0
      do {
        handle.writeSync(flush, chunk, at, chunk.length - at, output, 0, output.length)
        if (over) return
        const bytes = output.length - (left[0] ?? 0)
        at = chunk.length - (left[1] ?? 0)
        decodedBytes += bytes
        if (bytes > 0) to.push(output.subarray(0, bytes))
        // A reader that has had enough closes, and gets no more of the same chunk.
        if (over) return close()
        if (decodedBytes > MAX_DECODED_BYTES) return fallSilent()
        // A full output may have more behind it; with room left, all input was decoded.
      } while (left[0] === 0)
    },
    close,
    get isSilent() {
      return isSilent
    },
  }
}

function coding(stream: unknown, flush: number): ContentDecoder | undefined {
  const { _handle: handle, _writeState: left } = stream as {
    _handle?: Handle
    _writeState?: unknown
  }
  if (typeof handle?.writeSync !== 'function' || !(left instanceof Uint32Array)) return undefined
  const { close } = stream as { close(): void }
  return { handle, left, flush, close: () => close.call(stream) }
}
