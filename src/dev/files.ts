// The files and batches of the stand-in OpenAI: files are kept in memory, the oldest dropped first; a batch
// is complete as soon as it is created, and its output is a file.

import { randomUUID } from 'node:crypto'
import { type DevAnswer, json, missing, parseJson, refuse } from './answer.ts'

export interface DevFiles {
  /** Undefined for a path that is not one of files or batches. */
  answer(asked: FilesRequest): DevAnswer | undefined | Promise<DevAnswer>
}

interface FilesRequest {
  readonly method: string
  readonly path: string
  readonly body: Buffer
  readonly contentType: string
}

type Answering = (body: Buffer, contentType: string) => DevAnswer | Promise<DevAnswer>

interface DevFile {
  readonly about: {
    readonly id: string
    readonly object: 'file'
    readonly bytes: number
    readonly created_at: number
    readonly filename: string
    readonly purpose: string
    readonly status: 'processed'
  }
  readonly content: Buffer
}

const MAX_FILES = 100
const MAX_BYTES = 64 * 1024 * 1024
const MAX_LINES = 1000
const FILE = /^\/v1\/files\/([\w-]+)(\/content)?$/
const BATCH = /^\/v1\/batches\/([\w-]+)(\/cancel)?$/

const fresh = (prefix: string): string => `${prefix}${randomUUID().replaceAll('-', '')}`
const nowSeconds = (): number => Math.floor(Date.now() / 1000)
const NO_FILE = refuse(404, 'No such File object.')

/** `routes`: what a line of a batch may ask, as `POST /v1/chat/completions`. */
export function devFiles(routes: ReadonlyMap<string, Answering>): DevFiles {
  const files = new Map<string, DevFile>()
  const batches = new Map<string, object>()

  const keep = (content: Buffer, filename: string, purpose: string): DevFile['about'] => {
    const about = {
      id: fresh('file-'),
      object: 'file' as const,
      bytes: content.length,
      created_at: nowSeconds(),
      filename,
      purpose,
      status: 'processed' as const,
    }
    files.set(about.id, { about, content })
    let total = files.values().reduce((sum, each) => sum + each.content.length, 0)
    for (const [id, { content: oldest }] of files) {
      if (files.size <= MAX_FILES && total <= MAX_BYTES) break
      total -= oldest.length
      files.delete(id)
    }
    return about
  }

  const upload = async (body: Buffer, contentType: string): Promise<DevAnswer> => {
    const sent = new Response(body, { headers: { 'Content-Type': contentType } })
    const form = await sent.formData().catch(() => undefined)
    const [file, purpose] = [form?.get('file'), form?.get('purpose')]
    if (!(file instanceof File)) return missing('file')
    if (typeof purpose !== 'string') return missing('purpose')
    return json(keep(Buffer.from(await file.arrayBuffer()), file.name, purpose))
  }

  const begin = async (body: Buffer): Promise<DevAnswer> => {
    const { input_file_id: inputId, endpoint } = parseJson(body) ?? {}
    const input = files.get(String(inputId))
    if (!input) return missing('input_file_id')
    const lines = input.content.toString('utf8').split('\n').filter(Boolean).slice(0, MAX_LINES)
    const results = await Promise.all(lines.map((line) => run(Buffer.from(line), routes)))
    const text = results.map((each) => `${JSON.stringify(each)}\n`).join('')
    const id = fresh('batch_')
    const counts = { total: lines.length, completed: lines.length, failed: 0 }
    const batch = {
      id,
      object: 'batch',
      endpoint,
      input_file_id: inputId,
      completion_window: '24h',
      status: 'completed',
      created_at: nowSeconds(),
      output_file_id: keep(Buffer.from(text), `${id}_output.jsonl`, 'batch_output').id,
      request_counts: counts,
    }
    if (batches.size >= MAX_FILES) batches.clear()
    batches.set(id, batch)
    return json(batch)
  }

  return {
    answer({ method, path, body, contentType }) {
      if (method === 'POST' && path === '/v1/files') return upload(body, contentType)
      if (method === 'POST' && path === '/v1/batches') return begin(body)
      // There are never more than fit on one page.
      if (path === '/v1/files') return page([...files.values()].map(({ about }) => about))
      if (path === '/v1/batches') return page([...batches.values()])
      const [, fileId = '', content] = FILE.exec(path) ?? []
      const file = files.get(fileId)
      if (fileId !== '' && !file) return NO_FILE
      if (file && method === 'DELETE') {
        files.delete(fileId)
        return json({ id: fileId, object: 'file', deleted: true })
      }
      if (file) return content ? bytesOf(file) : json(file.about)
      const batch = batches.get(BATCH.exec(path)?.[1] ?? '')
      if (batch) return json(batch)
      return BATCH.test(path) ? refuse(404, 'No batch found with this id.') : undefined
    },
  }
}

/** Newest first. */
const page = (all: readonly object[]): DevAnswer =>
  json({ object: 'list', data: all.toReversed(), has_more: false })

const bytesOf = ({ content }: DevFile): DevAnswer => ({
  kind: 'whole',
  status: 200,
  contentType: 'application/octet-stream',
  body: content,
})

/** One line of a batch. A stream is not one of its answers. */
async function run(line: Buffer, routes: ReadonlyMap<string, Answering>): Promise<object> {
  const { custom_id: customId, method, url, body } = parseJson(line) ?? {}
  const answering = routes.get(`${String(method)} ${String(url)}`)
  const answer = answering
    ? await answering(Buffer.from(JSON.stringify(body ?? null)), 'application/json')
    : refuse(404, 'There is nothing at this path.')
  const id = fresh('batch_req_')
  if (answer.kind !== 'whole') {
    return { id, custom_id: customId, response: null, error: { code: 'stream_not_supported' } }
  }
  const said: unknown = JSON.parse(String(answer.body))
  const response = { status_code: answer.status, request_id: fresh('req_'), body: said }
  return { id, custom_id: customId, response, error: null }
}
