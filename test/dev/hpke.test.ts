// HPKE and the EHBP primitives against vectors that others made, and against bytes made to hurt.

import { describe, expect, test } from 'bun:test'
import { createPrivateKey, randomBytes } from 'node:crypto'

import { Identity, decryptChunk } from 'ehbp'

import {
  EhbpError,
  FrameReader,
  deriveResponseKeys,
  keyConfig,
  openRequest,
  responseSealer,
} from '../../src/dev/ehbp.ts'
import {
  HpkeError,
  generateRecipientKeyPair,
  openRecipientContext,
  rawPublicKey,
} from '../../src/dev/hpke.ts'

const hex = (text: string) => Buffer.from(text, 'hex')
const INFO = Buffer.from('ehbp request')

// CFRG test-vectors.json (draft-irtf-cfrg-hpke), mode 0, kem 0x0020, kdf 0x0001, aead 0x0002: the
// suite that RFC 9180 Appendix A leaves out.
const CFRG = {
  skR: '497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d',
  pkR: '430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c',
  enc: '6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256',
  info: '4f6465206f6e2061204772656369616e2055726e',
  plaintext: '4265617574792069732074727574682c20747275746820626561757479',
  sealed: [
    {
      aad: '436f756e742d30',
      ciphertext:
        'e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a',
    },
    {
      aad: '436f756e742d31',
      ciphertext:
        '2c43aff25343fdbff864506f0818b9d87df84ea01b1a2144d23b4d40c26bf655fdf197fe40297a8aebeed5cc2d',
    },
  ],
  exported: 'ded6cffafaea6b812cbf3e241e88332adbc077aca81512914213810ee291770a',
}

function failureOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof HpkeError || error instanceof EhbpError) return error.failure
    throw error
  }
  return 'none'
}

function vector(name: string): Promise<Record<string, string>> {
  return Bun.file(new URL(`../vectors/ehbp/${name}.json`, import.meta.url)).json()
}

/** A sealed request as the npm client makes it, and the sender's context to go on with. */
async function sealedRequest(publicKey: Buffer, text: string) {
  const identity = await Identity.fromPublicKeyHex(publicKey.toString('hex'))
  const plain = new Request('http://example.test/', { method: 'POST', body: text })
  const { request, context } = await identity.encryptRequestWithContext(plain)
  if (context === null) throw new Error('not sealed')
  const enc = request.headers.get('ehbp-encapsulated-key') ?? ''
  return { enc, body: Buffer.from(await request.arrayBuffer()), sender: context.senderContext }
}

describe('hpke', () => {
  test('the CFRG vector of this suite opens, in order, and exports its secret', () => {
    const jwk = { kty: 'OKP', crv: 'X25519', x: b64u(CFRG.pkR), d: b64u(CFRG.skR) }
    const privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
    expect(rawPublicKey(privateKey).toString('hex')).toBe(CFRG.pkR)

    const context = openRecipientContext(hex(CFRG.enc), privateKey, hex(CFRG.info))
    for (const { aad, ciphertext } of CFRG.sealed) {
      expect(context.open(hex(ciphertext), hex(aad)).toString('hex')).toBe(CFRG.plaintext)
    }
    expect(context.export(Buffer.alloc(0), 32).toString('hex')).toBe(CFRG.exported)
  })

  test('messages of another implementation open in sequence, and both export one secret', async () => {
    const { publicKey, privateKey } = generateRecipientKeyPair()
    const { enc, body, sender } = await sealedRequest(publicKey, 'first')
    const context = openRecipientContext(hex(enc), privateKey, INFO)
    expect(context.open(body.subarray(4)).toString()).toBe('first')
    for (let i = 0; i < 300; i += 1) {
      const sealed = await sender.Seal(Buffer.from(`message ${i}`))
      expect(context.open(sealed).toString()).toBe(`message ${i}`)
    }
    const label = Buffer.from('ehbp response')
    const theirs = Buffer.from(await sender.Export(label, 77))
    expect(context.export(label, 77).equals(theirs)).toBe(true)
  })

  test('a message out of order or twice does not open, and the right one still does', async () => {
    const { publicKey, privateKey } = generateRecipientKeyPair()
    const { enc, body, sender } = await sealedRequest(publicKey, 'first')
    const second = await sender.Seal(Buffer.from('second'))
    const context = openRecipientContext(hex(enc), privateKey, INFO)
    expect(failureOf(() => context.open(second))).toBe('open-failed')
    context.open(body.subarray(4))
    expect(failureOf(() => context.open(body.subarray(4)))).toBe('open-failed')
    expect(context.open(second).toString()).toBe('second')
  })

  test('any flipped byte, a cut tag and an empty message do not open', async () => {
    const { publicKey, privateKey } = generateRecipientKeyPair()
    const { enc, body } = await sealedRequest(publicKey, 'secret')
    const sealed = body.subarray(4)
    const open = (bytes: Buffer) => openRecipientContext(hex(enc), privateKey, INFO).open(bytes)
    for (let i = 0; i < sealed.byteLength; i += 1) {
      const bent = Buffer.from(sealed)
      bent[i] = (bent[i] ?? 0) ^ 1
      expect(failureOf(() => open(bent))).toBe('open-failed')
    }
    expect(failureOf(() => open(sealed.subarray(0, -1)))).toBe('open-failed')
    expect(failureOf(() => open(Buffer.alloc(0)))).toBe('open-failed')
    expect(failureOf(() => open(Buffer.alloc(15)))).toBe('open-failed')
  })

  test('another info string or another key opens nothing', async () => {
    const { publicKey, privateKey } = generateRecipientKeyPair()
    const { enc, body } = await sealedRequest(publicKey, 'secret')
    const other = openRecipientContext(hex(enc), privateKey, Buffer.from('ohttp request'))
    expect(failureOf(() => other.open(body.subarray(4)))).toBe('open-failed')
    const stranger = generateRecipientKeyPair().privateKey
    const wrong = openRecipientContext(hex(enc), stranger, INFO)
    expect(failureOf(() => wrong.open(body.subarray(4)))).toBe('open-failed')
  })

  test('an encapsulated key of small order or of the wrong length is refused', () => {
    const { privateKey } = generateRecipientKeyPair()
    const refused = [
      '00'.repeat(32),
      `01${'00'.repeat(31)}`,
      // A point of order 8, and p-1, p and p+1: https://cr.yp.to/ecdh.html#validate.
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      `ec${'ff'.repeat(30)}7f`,
      `ed${'ff'.repeat(30)}7f`,
      `ee${'ff'.repeat(30)}7f`,
      '11'.repeat(31),
      '11'.repeat(33),
      '',
    ]
    for (const enc of refused) {
      const open = () => openRecipientContext(hex(enc), privateKey, INFO)
      expect(failureOf(open)).toBe('bad-encapsulated-key')
    }
  })
})

describe('ehbp', () => {
  test('the key configuration is the 41 bytes that the npm client writes and reads', async () => {
    const identity = await Identity.generate()
    const publicKey = hex(await identity.getPublicKeyHex())
    expect(keyConfig(publicKey)).toEqual(Buffer.from(await identity.marshalConfig()))
    expect(keyConfig(publicKey).byteLength).toBe(41)
    expect(failureOf(() => keyConfig(publicKey.subarray(1)))).toBe('bad-length')
  })

  test('the official derivation vector holds', async () => {
    const official = await vector('derive')
    const field = (name: string) => hex(official[name] ?? '')
    const keys = deriveResponseKeys(
      field('exportedSecret'),
      field('requestEnc'),
      field('responseNonce'),
    )
    expect(keys.key).toEqual(field('derivedKey'))
    expect(keys.nonceBase).toEqual(field('derivedNonceBase'))
  })

  test('the official encrypted response is what the sealer makes', async () => {
    const official = await vector('response-decryption')
    const field = (name: string) => hex(official[name] ?? '')
    const keys = deriveResponseKeys(
      field('exportedSecret'),
      field('requestEnc'),
      field('responseNonce'),
    )
    const seal = responseSealer(keys)
    expect(seal(field('plaintext'))).toEqual(field('encryptedResponse'))
  })

  test('a session recovery token opens the frames sealed for its request', async () => {
    const token = await vector('session-recovery-token')
    const nonce = randomBytes(32)
    const secret = hex(token['exportedSecret'] ?? '')
    const keys = deriveResponseKeys(secret, hex(token['requestEnc'] ?? ''), nonce)
    const seal = responseSealer(keys)
    const material = { keyBytes: keys.key, nonceBase: keys.nonceBase }
    for (let i = 0; i < 300; i += 1) {
      const frame = seal(Buffer.from(`frame ${i}`))
      expect(frame.readUInt32BE(0)).toBe(frame.byteLength - 4)
      const opened = await decryptChunk(material, i, frame.subarray(4))
      expect(Buffer.from(opened).toString()).toBe(`frame ${i}`)
    }
  })

  test('response keys are refused material of the wrong length', () => {
    const good = Buffer.alloc(32, 1)
    const short = good.subarray(1)
    expect(failureOf(() => deriveResponseKeys(short, good, good))).toBe('bad-length')
    expect(failureOf(() => deriveResponseKeys(good, short, good))).toBe('bad-length')
    expect(failureOf(() => deriveResponseKeys(good, good, short))).toBe('bad-length')
  })

  test('frames come out the same however the body is cut, and empty ones never do', () => {
    const body = Buffer.concat([
      framed(''),
      framed('one'),
      framed(''),
      framed(''),
      framed('second'),
      framed('3'),
      framed(''),
    ])
    for (let size = 1; size <= body.byteLength; size += 1) {
      const reader = new FrameReader(100)
      const frames: string[] = []
      for (let at = 0; at < body.byteLength; at += size) {
        for (const frame of reader.push(body.subarray(at, at + size))) frames.push(`${frame}`)
      }
      reader.end()
      expect(frames).toEqual(['one', 'second', '3'])
    }
  })

  test('a body that ends inside a length or inside a frame is bad framing', () => {
    for (const cut of [1, 3, 4, 5, 6]) {
      const reader = new FrameReader(100)
      reader.push(framed('one').subarray(0, cut))
      expect(failureOf(() => reader.end())).toBe('framing')
    }
  })

  test('a frame that announces four gigabytes is refused by its length alone', () => {
    expect(failureOf(() => new FrameReader(100).push(hex('ffffffff')))).toBe('framing')
    expect(failureOf(() => new FrameReader(100).push(hex('00000065')))).toBe('framing')
    expect(failureOf(() => new FrameReader(100).push(hex('00000064')))).toBe('none')
  })

  test('a malformed encapsulated key is bad framing, before any cryptography', async () => {
    const { publicKey, privateKey } = generateRecipientKeyPair()
    const { enc, body } = await sealedRequest(publicKey, '{}')
    const open = (key: string) => () => openRequest(key, [body], privateKey, 100)
    expect(failureOf(open(enc))).toBe('none')
    for (const bad of ['', enc.slice(2), `${enc}00`, `${enc}, ${enc}`, ` ${enc}`, `${enc}\n`]) {
      expect(failureOf(open(bad))).toBe('framing')
    }
    expect(failureOf(open(`zz${enc.slice(2)}`))).toBe('framing')
    expect(failureOf(open('00'.repeat(32)))).toBe('key-config')
  })

  // EHBP §7.4: whoever swaps the key for one of their own could otherwise read the response.
  test('a swapped encapsulated key over no frame, or empty frames only, opens nothing', async () => {
    const { publicKey, privateKey } = generateRecipientKeyPair()
    const { enc } = await sealedRequest(publicKey, 'anything')
    expect(failureOf(() => openRequest(enc, [], privateKey, 100))).toBe('framing')
    expect(failureOf(() => openRequest(enc, [framed('')], privateKey, 100))).toBe('framing')
  })
})

function framed(text: string): Buffer {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32BE(text.length)
  return Buffer.concat([prefix, Buffer.from(text)])
}

function b64u(text: string): string {
  return hex(text).toString('base64url')
}
