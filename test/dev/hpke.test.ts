// HPKE and the EHBP primitives against vectors that others made, and against bytes made to hurt.

import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'

import { Identity, decryptChunk } from 'ehbp'

import {
  EhbpError,
  FrameReader,
  deriveResponseKeys,
  keyConfig,
  openRequest,
  type RecipientKeys,
  responseSealer,
  SUITE,
} from '../../src/dev/ehbp.ts'

const hex = (text: string) => Buffer.from(text, 'hex')
const MAX_FRAME_BYTES = 1000

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

async function failureOf(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    if (error instanceof EhbpError) return error.failure
    if (error instanceof RangeError) return 'bad-length'
    throw error
  }
  return 'none'
}

function vector(name: string): Promise<Record<string, string>> {
  return Bun.file(new URL(`../vectors/ehbp/${name}.json`, import.meta.url)).json()
}

/** A sealed request as the npm client makes it, and the sender's context to go on with. */
async function sealedRequest(recipient: RecipientKeys, text: string) {
  const publicKey = Buffer.from(await SUITE.SerializePublicKey(recipient.publicKey))
  const identity = await Identity.fromPublicKeyHex(publicKey.toString('hex'))
  const plain = new Request('http://example.test/', { method: 'POST', body: text })
  const { request, context } = await identity.encryptRequestWithContext(plain)
  if (context === null) throw new Error('not sealed')
  const enc = request.headers.get('ehbp-encapsulated-key') ?? ''
  return { enc, body: Buffer.from(await request.arrayBuffer()), sender: context.senderContext }
}

const framedBytes = (bytes: Uint8Array): Buffer => {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32BE(bytes.byteLength)
  return Buffer.concat([prefix, bytes])
}

describe('hpke', () => {
  test('the CFRG vector of this suite opens, in order, and exports its secret', async () => {
    const privateKey = await SUITE.DeserializePrivateKey(hex(CFRG.skR), false)
    const publicKey = await SUITE.DeserializePublicKey(hex(CFRG.pkR))
    const context = await SUITE.SetupRecipient({ privateKey, publicKey }, hex(CFRG.enc), {
      info: hex(CFRG.info),
    })
    for (const { aad, ciphertext } of CFRG.sealed) {
      const opened = await context.Open(hex(ciphertext), hex(aad))
      expect(Buffer.from(opened).toString('hex')).toBe(CFRG.plaintext)
    }
    const exported = await context.Export(Buffer.alloc(0), 32)
    expect(Buffer.from(exported).toString('hex')).toBe(CFRG.exported)
  })

  test('frames of another implementation open in sequence, and none out of it', async () => {
    const recipient = await SUITE.GenerateKeyPair()
    const { enc, body, sender } = await sealedRequest(recipient, 'first')
    const frames: Buffer[] = [body]
    for (let i = 0; i < 300; i += 1) {
      frames.push(framedBytes(await sender.Seal(Buffer.from(` ${i}`))))
    }
    const { body: opened } = await openRequest(enc, frames, recipient, MAX_FRAME_BYTES)
    expect(opened.toString()).toBe(
      `first${Array.from({ length: 300 }, (_, i) => ` ${i}`).join('')}`,
    )
    const [first = body, second = body, third = body] = frames
    for (const wrong of [[second], [first, third], [first, first], [second, first]]) {
      const open = () => openRequest(enc, wrong, recipient, MAX_FRAME_BYTES)
      expect(await failureOf(open)).toBe('key-config')
    }
  })

  test('any flipped byte and a cut tag do not open', async () => {
    const recipient = await SUITE.GenerateKeyPair()
    const { enc, body } = await sealedRequest(recipient, 'secret')
    const sealed = body.subarray(4)
    const open = (bytes: Buffer) => () =>
      openRequest(enc, [framedBytes(bytes)], recipient, MAX_FRAME_BYTES)
    expect(await failureOf(open(sealed))).toBe('none')
    for (let i = 0; i < sealed.byteLength; i += 1) {
      const bent = Buffer.from(sealed)
      bent[i] = (bent[i] ?? 0) ^ 1
      expect(await failureOf(open(bent))).toBe('key-config')
    }
    expect(await failureOf(open(sealed.subarray(0, -1)))).toBe('key-config')
    expect(await failureOf(open(Buffer.alloc(15)))).toBe('key-config')
  })

  test('a body sealed for another protocol or key does not open', async () => {
    const recipient = await SUITE.GenerateKeyPair()
    const other = await SUITE.Seal(recipient.publicKey, Buffer.from('secret'), {
      info: Buffer.from('ohttp request'),
    })
    const enc = Buffer.from(other.encapsulatedSecret).toString('hex')
    const frames = [framedBytes(other.ciphertext)]
    const open = () => openRequest(enc, frames, recipient, MAX_FRAME_BYTES)
    expect(await failureOf(open)).toBe('key-config')
    const ours = await sealedRequest(recipient, 'secret')
    const stranger = await SUITE.GenerateKeyPair()
    const wrong = () => openRequest(ours.enc, [ours.body], stranger, MAX_FRAME_BYTES)
    expect(await failureOf(wrong)).toBe('key-config')
  })

  test('an encapsulated key of small order is refused', async () => {
    const recipient = await SUITE.GenerateKeyPair()
    const { body } = await sealedRequest(recipient, 'secret')
    const refused = [
      '00'.repeat(32),
      `01${'00'.repeat(31)}`,
      // A point of order 8, and p-1, p and p+1: https://cr.yp.to/ecdh.html#validate.
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      `ec${'ff'.repeat(30)}7f`,
      `ed${'ff'.repeat(30)}7f`,
      `ee${'ff'.repeat(30)}7f`,
    ]
    for (const enc of refused) {
      const setUp = SUITE.SetupRecipient(recipient, hex(enc))
      expect(await setUp.catch(({ name }: Error) => name)).toBe('DecapError')
      const open = () => openRequest(enc, [body], recipient, MAX_FRAME_BYTES)
      expect(await failureOf(open)).toBe('key-config')
    }
  })
})

describe('ehbp', () => {
  test('the key configuration is the 41 bytes that the npm client writes and reads', async () => {
    const identity = await Identity.generate()
    const publicKey = hex(await identity.getPublicKeyHex())
    expect(keyConfig(publicKey)).toEqual(Buffer.from(await identity.marshalConfig()))
    expect(keyConfig(publicKey).byteLength).toBe(41)
    expect(await failureOf(() => keyConfig(publicKey.subarray(1)))).toBe('bad-length')
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

  test("the sealer's output equals the official encrypted response", async () => {
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

  test('response keys are refused material of the wrong length', async () => {
    const good = Buffer.alloc(32, 1)
    const short = good.subarray(1)
    expect(await failureOf(() => deriveResponseKeys(short, good, good))).toBe('bad-length')
    expect(await failureOf(() => deriveResponseKeys(good, short, good))).toBe('bad-length')
    expect(await failureOf(() => deriveResponseKeys(good, good, short))).toBe('bad-length')
  })

  test('frames come out the same however the body is cut, and empty ones never do', async () => {
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

  test('a body that ends inside a length or inside a frame is bad framing', async () => {
    for (const cut of [1, 3, 4, 5, 6]) {
      const reader = new FrameReader(100)
      reader.push(framed('one').subarray(0, cut))
      expect(await failureOf(() => reader.end())).toBe('framing')
    }
  })

  test('a frame that announces four gigabytes is refused by its length alone', async () => {
    expect(await failureOf(() => new FrameReader(100).push(hex('ffffffff')))).toBe('framing')
    expect(await failureOf(() => new FrameReader(100).push(hex('00000065')))).toBe('framing')
    expect(await failureOf(() => new FrameReader(100).push(hex('00000064')))).toBe('none')
  })

  test('a malformed encapsulated key is bad framing, before any cryptography', async () => {
    const recipient = await SUITE.GenerateKeyPair()
    const { enc, body } = await sealedRequest(recipient, '{}')
    const open = (key: string) => () => openRequest(key, [body], recipient, 100)
    expect(await failureOf(open(enc))).toBe('none')
    for (const bad of ['', enc.slice(2), `${enc}00`, `${enc}, ${enc}`, ` ${enc}`, `${enc}\n`]) {
      expect(await failureOf(open(bad))).toBe('framing')
    }
    expect(await failureOf(open(`zz${enc.slice(2)}`))).toBe('framing')
    expect(await failureOf(open('00'.repeat(32)))).toBe('key-config')
  })

  // EHBP §7.4: whoever swaps the key for one of their own could otherwise read the response.
  test('a swapped encapsulated key over no frame, or empty frames only, opens nothing', async () => {
    const recipient = await SUITE.GenerateKeyPair()
    const { enc } = await sealedRequest(recipient, 'anything')
    expect(await failureOf(() => openRequest(enc, [], recipient, 100))).toBe('framing')
    expect(await failureOf(() => openRequest(enc, [framed('')], recipient, 100))).toBe('framing')
  })
})

function framed(text: string): Buffer {
  return framedBytes(Buffer.from(text))
}
