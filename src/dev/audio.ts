// The two audio routes of the stand-in enclave: a transcription states the size of the upload, and speech
// is one short tone.
//
// /v1/models lists no audio model, so any model name is accepted here.

import { json, missing, parseJson, refuse, type DevAnswer } from './answer.ts'

const SAMPLES_PER_SECOND = 16_000
const TONE_HERTZ = 440
const TONE_SAMPLES = SAMPLES_PER_SECOND * 0.4
// Without a fade the ends of the tone are heard as clicks.
const FADE_SAMPLES = SAMPLES_PER_SECOND * 0.02
const WAV_HEADER_BYTES = 44
const SAMPLE_BYTES = 2

export async function transcriptions(body: Buffer, contentType: string): Promise<DevAnswer> {
  if (!/^multipart\/form-data\s*;/i.test(contentType)) {
    return refuse(400, 'A transcription is asked for with multipart/form-data.')
  }
  const upload = new Response(body, { headers: { 'Content-Type': contentType } })
  const form = await upload.formData().catch(() => undefined)
  if (form === undefined) return refuse(400, 'The request body is not valid multipart/form-data.')
  const file = form.get('file')
  if (!(file instanceof Blob)) return missing('file')
  if (!form.get('model')) return missing('model')
  if (form.get('stream') === 'true') {
    return refuse(400, 'The embedded development enclave does not stream transcriptions.')
  }
  const text =
    `This is postern's embedded development enclave. It received ${file.size} bytes of audio ` +
    `and did not listen to them.`
  if (form.get('response_format') !== 'text') return json({ text })
  return { kind: 'whole', status: 200, contentType: 'text/plain; charset=utf-8', body: text }
}

/** Always WAV, whatever `response_format` requests; the content type says so. */
export function speech(body: Buffer): DevAnswer {
  const fields = parseJson(body)
  if (fields === undefined) return refuse(400, 'The request body is not a JSON object.')
  if (typeof fields['model'] !== 'string' || fields['model'] === '') return missing('model')
  if (typeof fields['input'] !== 'string') return missing('input')
  return { kind: 'whole', status: 200, contentType: 'audio/wav', body: tone() }
}

/** RIFF/WAVE, 16-bit PCM, one channel. */
function tone(): Buffer {
  const dataBytes = TONE_SAMPLES * SAMPLE_BYTES
  const wav = Buffer.alloc(WAV_HEADER_BYTES + dataBytes)
  wav.write('RIFF', 0)
  wav.writeUInt32LE(wav.byteLength - 8, 4)
  wav.write('WAVEfmt ', 8)
  wav.writeUInt32LE(16, 16)
  wav.writeUInt16LE(1, 20)
  wav.writeUInt16LE(1, 22)
  wav.writeUInt32LE(SAMPLES_PER_SECOND, 24)
  wav.writeUInt32LE(SAMPLES_PER_SECOND * SAMPLE_BYTES, 28)
  wav.writeUInt16LE(SAMPLE_BYTES, 32)
  wav.writeUInt16LE(SAMPLE_BYTES * 8, 34)
  wav.write('data', 36)
  wav.writeUInt32LE(dataBytes, 40)
  for (let i = 0; i < TONE_SAMPLES; i += 1) {
    const fade = Math.min(1, i / FADE_SAMPLES, (TONE_SAMPLES - 1 - i) / FADE_SAMPLES)
    const swing = Math.sin((2 * Math.PI * TONE_HERTZ * i) / SAMPLES_PER_SECOND)
    wav.writeInt16LE(Math.round(0.3 * fade * swing * 0x7fff), WAV_HEADER_BYTES + i * SAMPLE_BYTES)
  }
  return wav
}
