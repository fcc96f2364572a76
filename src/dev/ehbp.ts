// The server side of EHBP 0.3.1, the Encrypted HTTP Body Protocol: the key configuration, the
// frames, the opening of a request and the sealing of its response.
//
// It does no HTTP and holds no key: bytes in, bytes out. It never answers a sealed request in plaintext,
// and never returns a frame before it is authenticated.

import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import {
  AEAD_AES_256_GCM,
  CipherSuite,
  DecapError,
  DeserializeError,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
  type KeyPair,
  MessageLimitReachedError,
  OpenError,
  ValidationError,
} from 'hpke'

/** The one suite that EHBP uses (RFC 9180 §7). */
export const SUITE = new CipherSuite(
  KEM_DHKEM_X25519_HKDF_SHA256,
  KDF_HKDF_SHA256,
  AEAD_AES_256_GCM,
)
export type RecipientKeys = KeyPair<CryptoKey>

const KEM_ID = 0x0020
const KDF_ID = 0x0001
const AEAD_ID = 0x0002
const PUBLIC_KEY_BYTES = 32
const AEAD_KEY_BYTES = 32
const AEAD_NONCE_BYTES = 12
const AEAD_TAG_BYTES = 16

export const ENCAPSULATED_KEY_HEADER = 'Ehbp-Encapsulated-Key'
export const RESPONSE_NONCE_HEADER = 'Ehbp-Response-Nonce'
export const KEYS_PATH = '/.well-known/hpke-keys'
/** Clients compare this to the whole header: no charset may follow it. */
export const KEYS_MEDIA_TYPE = 'application/ohttp-keys'
export const PROBLEM_MEDIA_TYPE = 'application/problem+json'
export const KEY_CONFIG_PROBLEM = {
  type: 'urn:ietf:params:ehbp:error:key-config',
  title: 'failed to decrypt request',
} as const

/** max(Nn, Nk), EHBP §4.2. */
export const RESPONSE_NONCE_BYTES = 32

const REQUEST_INFO = Buffer.from('ehbp request')
const EXPORT_LABEL = Buffer.from('ehbp response')
const EXPORTED_SECRET_BYTES = 32
const LENGTH_PREFIX_BYTES = 4
const MAX_RESPONSE_FRAMES = 2 ** 32

/** `framing`: the request's frames are malformed. `key-config`: it did not open. */
export type EhbpFailure = 'framing' | 'key-config'

export class EhbpError extends Error {
  readonly failure: EhbpFailure

  constructor(failure: EhbpFailure, detail: string) {
    super(`ehbp: ${detail}`)
    this.name = 'EhbpError'
    this.failure = failure
  }
}

/** RFC 9458 §3.1 key configuration: key id 0, one KEM key, one suite. No list length before it. */
export function keyConfig(publicKey: Uint8Array): Buffer {
  if (publicKey.byteLength !== PUBLIC_KEY_BYTES) throw new RangeError('a key of another length')
  const suites = u16s(KDF_ID, AEAD_ID)
  return Buffer.concat([Buffer.of(0), u16s(KEM_ID), publicKey, u16s(suites.byteLength), suites])
}

/** Splits a body into its frames, however it arrives in pieces (EHBP §4.3). */
export class FrameReader {
  readonly #maxFrameBytes: number
  #pieces: Uint8Array[] = []
  #havePieceBytes = 0
  // Undefined while the length prefix is being read.
  #frameBytes: number | undefined

  /** A length that is too large is refused at once: nothing is allocated for an announced frame. */
  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes
  }

  push(chunk: Uint8Array): Buffer[] {
    const frames: Buffer[] = []
    let at = 0
    while (at < chunk.byteLength) {
      const wantBytes = this.#frameBytes ?? LENGTH_PREFIX_BYTES
      const piece = chunk.subarray(at, at + wantBytes - this.#havePieceBytes)
      at += piece.byteLength
      this.#pieces.push(piece)
      this.#havePieceBytes += piece.byteLength
      if (this.#havePieceBytes < wantBytes) break

      const gathered = Buffer.concat(this.#pieces)
      this.#pieces = []
      this.#havePieceBytes = 0
      if (this.#frameBytes === undefined) {
        this.#frameBytes = this.#checkLength(gathered.readUInt32BE(0))
      } else {
        frames.push(gathered)
        this.#frameBytes = undefined
      }
    }
    return frames
  }

  /** The end of the body is the only end marker, so it must come between two frames. */
  end(): void {
    if (this.#havePieceBytes > 0 || this.#frameBytes !== undefined) {
      throw new EhbpError('framing', 'the body ends inside a frame')
    }
  }

  #checkLength(frameBytes: number): number | undefined {
    // The sender wrote an empty frame; receivers ignore it (EHBP §4.3).
    if (frameBytes === 0) return undefined
    if (frameBytes > this.#maxFrameBytes) throw new EhbpError('framing', 'a frame is too long')
    return frameBytes
  }
}

export interface ResponseKeys {
  readonly key: Buffer
  readonly nonceBase: Buffer
}

/** EHBP §4.4.1, which is RFC 9458 §4.4 with its own export label. */
export function deriveResponseKeys(
  exportedSecret: Uint8Array,
  enc: Uint8Array,
  responseNonce: Uint8Array,
): ResponseKeys {
  if (
    exportedSecret.byteLength !== EXPORTED_SECRET_BYTES ||
    enc.byteLength !== PUBLIC_KEY_BYTES ||
    responseNonce.byteLength !== RESPONSE_NONCE_BYTES
  ) {
    throw new RangeError('key material of another length')
  }
  const salt = Buffer.concat([enc, responseNonce])
  const derive = (info: string, length: number): Buffer =>
    Buffer.from(hkdfSync('sha256', exportedSecret, salt, info, length))
  return { key: derive('key', AEAD_KEY_BYTES), nonceBase: derive('nonce', AEAD_NONCE_BYTES) }
}

/** Returns a function that seals each write as one frame with its length prefix, in order. */
export function responseSealer(keys: ResponseKeys): (plaintext: Uint8Array) => Buffer {
  let sequence = 0
  return (plaintext) => {
    // Using a nonce twice would reveal the key stream.
    if (sequence >= MAX_RESPONSE_FRAMES) throw new RangeError('too many frames')
    const nonce = sequenceNonce(keys.nonceBase, sequence)
    sequence += 1
    const sealer = createCipheriv('aes-256-gcm', keys.key, nonce, {
      authTagLength: AEAD_TAG_BYTES,
    })
    const sealed = Buffer.concat([sealer.update(plaintext), sealer.final()])
    const prefix = Buffer.alloc(LENGTH_PREFIX_BYTES)
    prefix.writeUInt32BE(sealed.byteLength + AEAD_TAG_BYTES)
    return Buffer.concat([prefix, sealed, sealer.getAuthTag()])
  }
}

/** RFC 9180 §5.2: the base XOR the number, of which only the last four bytes can differ. */
function sequenceNonce(base: Uint8Array, sequence: number): Buffer {
  const nonce = Buffer.from(base)
  const lastFour = nonce.byteLength - 4
  nonce.writeUInt32BE((nonce.readUInt32BE(lastFour) ^ sequence) >>> 0, lastFour)
  return nonce
}

export interface OpenedRequest {
  readonly body: Buffer
  /** For the `Ehbp-Response-Nonce` header. */
  readonly responseNonceHex: string
  readonly seal: (plaintext: Uint8Array) => Buffer
}

/** Opens a whole request body and prepares the sealing of its one response (EHBP §5.2). */
export async function openRequest(
  encapsulatedKeyHex: string,
  chunks: Iterable<Uint8Array>,
  recipient: RecipientKeys,
  maxFrameBytes: number,
): Promise<OpenedRequest> {
  // Two headers arrive joined by a comma, and fail here.
  if (!/^[0-9a-f]{64}$/i.test(encapsulatedKeyHex)) {
    throw new EhbpError('framing', 'malformed encapsulated key')
  }
  const enc = Buffer.from(encapsulatedKeyHex, 'hex')
  const frames = new FrameReader(maxFrameBytes)
  const sealed: Buffer[] = []
  for (const chunk of chunks) sealed.push(...frames.push(chunk))
  frames.end()
  try {
    const context = await SUITE.SetupRecipient(recipient, enc, { info: REQUEST_INFO })
    const opened: Uint8Array[] = []
    for (const frame of sealed) opened.push(await context.Open(frame))
    // Only an opened frame proves that the client which sent the encapsulated key knows its secret. Without
    // one, a stranger in the middle could put in a key of their own and read the response (EHBP
    // §7.4).
    if (opened.length === 0) throw new EhbpError('framing', 'no sealed frame')

    const responseNonce = randomBytes(RESPONSE_NONCE_BYTES)
    const exportedSecret = await context.Export(EXPORT_LABEL, EXPORTED_SECRET_BYTES)
    return {
      body: Buffer.concat(opened),
      responseNonceHex: responseNonce.toString('hex'),
      seal: responseSealer(deriveResponseKeys(exportedSecret, enc, responseNonce)),
    }
  } catch (error) {
    // A bad point and a failed tag look the same from outside (EHBP §5.4.4).
    if (UNOPENED.some((kind) => error instanceof kind)) {
      throw new EhbpError('key-config', 'failed to decrypt request')
    }
    throw error
  }
}

const UNOPENED = [
  DecapError,
  DeserializeError,
  MessageLimitReachedError,
  OpenError,
  ValidationError,
] as const

function u16s(...values: number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [(value >> 8) & 0xff, value & 0xff]))
}
