// The receiving half of HPKE (RFC 9180), base mode, for the one suite EHBP uses:
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//
// It exists so that the embedded enclave can open sealed bodies with no dependency. It never runs
// on the gate's own road: postern passes sealed bodies on unread. It never seals, and never says
// why an opening failed beyond the reasons below.

import {
  createDecipheriv,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'

/** Npk and Nenc of DHKEM(X25519, HKDF-SHA256), RFC 9180 §7.1. */
export const PUBLIC_KEY_BYTES = 32
/** Nk, Nn and Nt of AES-256-GCM, RFC 9180 §7.3. */
export const AEAD_KEY_BYTES = 32
export const AEAD_NONCE_BYTES = 12
export const AEAD_TAG_BYTES = 16

export const KEM_ID = 0x0020
export const KDF_ID = 0x0001
export const AEAD_ID = 0x0002

const HASH_BYTES = 32
const MODE_BASE = 0x00
const EMPTY = Buffer.alloc(0)
// The RFC allows 2^96-1 messages under one key (§5.2). 2^32 keeps the sequence within the last four
// bytes of the nonce, and no body of the sizes we accept has that many frames.
const MAX_MESSAGES = 2 ** 32

export type HpkeFailure = 'bad-encapsulated-key' | 'open-failed' | 'message-limit' | 'bad-length'

export class HpkeError extends Error {
  readonly failure: HpkeFailure

  constructor(failure: HpkeFailure) {
    super(`hpke: ${failure}`)
    this.name = 'HpkeError'
    this.failure = failure
  }
}

export interface RecipientKeyPair {
  readonly publicKey: Buffer
  readonly privateKey: KeyObject
}

export interface RecipientContext {
  /** Opens the next message in order. A failed one does not move the sequence on. */
  open(ciphertext: Uint8Array, aad?: Uint8Array): Buffer
  export(context: Uint8Array, lengthBytes: number): Buffer
}

export function generateRecipientKeyPair(): RecipientKeyPair {
  const { privateKey } = generateKeyPairSync('x25519')
  return { publicKey: rawPublicKey(privateKey), privateKey }
}

/** SerializePublicKey, RFC 9180 §7.1.1: for X25519 the key's own 32 bytes. */
export function rawPublicKey(privateKey: KeyObject): Buffer {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
  if (x === undefined) throw new HpkeError('bad-length')
  return Buffer.from(x, 'base64url')
}

/** SetupBaseR, RFC 9180 §5.1.1: Decap, then KeySchedule with no psk. */
export function openRecipientContext(
  enc: Uint8Array,
  privateKey: KeyObject,
  info: Uint8Array,
): RecipientContext {
  const sharedSecret = decapsulate(enc, privateKey)

  // KeySchedule, RFC 9180 §5.1. In base mode psk and psk_id are the empty string.
  const suite = Buffer.concat([Buffer.from('HPKE'), u16(KEM_ID), u16(KDF_ID), u16(AEAD_ID)])
  const scheduleContext = Buffer.concat([
    Buffer.of(MODE_BASE),
    labeledExtract(suite, EMPTY, 'psk_id_hash', EMPTY),
    labeledExtract(suite, EMPTY, 'info_hash', info),
  ])
  const secret = labeledExtract(suite, sharedSecret, 'secret', EMPTY)
  const key = labeledExpand(suite, secret, 'key', scheduleContext, AEAD_KEY_BYTES)
  const baseNonce = labeledExpand(suite, secret, 'base_nonce', scheduleContext, AEAD_NONCE_BYTES)
  const exporterSecret = labeledExpand(suite, secret, 'exp', scheduleContext, HASH_BYTES)

  let sequence = 0
  return {
    // ContextR.Open, RFC 9180 §5.2.
    open(ciphertext, aad = EMPTY) {
      if (sequence >= MAX_MESSAGES) throw new HpkeError('message-limit')
      const plaintext = openAead(key, sequenceNonce(baseNonce, sequence), aad, ciphertext)
      sequence += 1
      return plaintext
    },
    // Context.Export, RFC 9180 §5.3.
    export: (context, lengthBytes) =>
      labeledExpand(suite, exporterSecret, 'sec', context, lengthBytes),
  }
}

/** ComputeNonce, RFC 9180 §5.2: base_nonce XOR I2OSP(seq, Nn). */
export function sequenceNonce(baseNonce: Uint8Array, sequence: number): Buffer {
  const nonce = Buffer.from(baseNonce)
  // Only the last four bytes can differ: sequences stay under 2^32.
  const lastFour = nonce.byteLength - 4
  nonce.writeUInt32BE((nonce.readUInt32BE(lastFour) ^ sequence) >>> 0, lastFour)
  return nonce
}

/** HKDF-Extract, RFC 5869 §2.2. */
export function hkdfExtract(salt: Uint8Array, keyMaterial: Uint8Array): Buffer {
  return createHmac('sha256', salt).update(keyMaterial).digest()
}

/** HKDF-Expand, RFC 5869 §2.3. */
export function hkdfExpand(prk: Uint8Array, info: Uint8Array, lengthBytes: number): Buffer {
  if (!Number.isInteger(lengthBytes) || lengthBytes < 1 || lengthBytes > 255 * HASH_BYTES) {
    throw new HpkeError('bad-length')
  }
  const blocks: Buffer[] = []
  let block = EMPTY
  for (let i = 1; blocks.length * HASH_BYTES < lengthBytes; i += 1) {
    block = createHmac('sha256', prk).update(block).update(info).update(Buffer.of(i)).digest()
    blocks.push(block)
  }
  return Buffer.concat(blocks).subarray(0, lengthBytes)
}

/** Decap, RFC 9180 §4.1. */
function decapsulate(enc: Uint8Array, privateKey: KeyObject): Buffer {
  const dh = sharedPoint(enc, privateKey)
  const suite = Buffer.concat([Buffer.from('KEM'), u16(KEM_ID)])
  const kemContext = Buffer.concat([enc, rawPublicKey(privateKey)])
  const prk = labeledExtract(suite, EMPTY, 'eae_prk', dh)
  return labeledExpand(suite, prk, 'shared_secret', kemContext, HASH_BYTES)
}

function sharedPoint(enc: Uint8Array, privateKey: KeyObject): Buffer {
  if (enc.byteLength !== PUBLIC_KEY_BYTES) throw new HpkeError('bad-encapsulated-key')
  let dh: Buffer
  try {
    const x = Buffer.from(enc).toString('base64url')
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' })
    dh = diffieHellman({ privateKey, publicKey })
  } catch {
    throw new HpkeError('bad-encapsulated-key')
  }
  // RFC 9180 §7.1.4: an all-zero output (a point of small order, an all-zero enc) means a secret
  // that anyone knows. BoringSSL refuses it by itself; another runtime underneath might not.
  if (dh.every((byte) => byte === 0)) throw new HpkeError('bad-encapsulated-key')
  return dh
}

function openAead(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Buffer {
  // Shorter than its tag: node:crypto would accept a truncated tag unless told the length.
  if (ciphertext.byteLength < AEAD_TAG_BYTES) throw new HpkeError('open-failed')
  const sealedEnd = ciphertext.byteLength - AEAD_TAG_BYTES
  try {
    const opener = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: AEAD_TAG_BYTES })
    opener.setAAD(aad)
    opener.setAuthTag(ciphertext.subarray(sealedEnd))
    const plaintext = opener.update(ciphertext.subarray(0, sealedEnd))
    return Buffer.concat([plaintext, opener.final()])
  } catch {
    throw new HpkeError('open-failed')
  }
}

/** LabeledExtract, RFC 9180 §4. */
function labeledExtract(suite: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array) {
  return hkdfExtract(salt, Buffer.concat([Buffer.from('HPKE-v1'), suite, Buffer.from(label), ikm]))
}

/** LabeledExpand, RFC 9180 §4. */
function labeledExpand(
  suite: Uint8Array,
  prk: Uint8Array,
  label: string,
  info: Uint8Array,
  lengthBytes: number,
) {
  const labeled = [Buffer.from('HPKE-v1'), suite, Buffer.from(label), info]
  return hkdfExpand(prk, Buffer.concat([u16(lengthBytes), ...labeled]), lengthBytes)
}

/** I2OSP(value, 2), RFC 8017 §4.1. */
function u16(value: number): Buffer {
  return Buffer.of((value >> 8) & 0xff, value & 0xff)
}
