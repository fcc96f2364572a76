// A server that keeps files, batches, vector stores and the like, in the shapes of OpenAI's and Anthropic's
// APIs, all under one key. It checks nobody: whose an object is, the gate alone knows.

import type { IncomingMessage } from 'node:http'
import { startUpstream, type Upstream } from './upstream.ts'

export interface ObjectServer {
  readonly upstream: Upstream
  /** The bytes of a file's content, by its id. */
  readonly contents: Map<string, Buffer>
  /** What was made and not deleted, by the path that made it; oldest first. */
  readonly made: Map<string, Made[]>
  /** Every answer waits for it. */
  hold(until: (() => Promise<void>) | undefined): void
}

export interface Made {
  readonly id: string
}

type Answer = { readonly status?: number; readonly type?: string; readonly body: string | Buffer }

const json = (value: object, status = 200): Answer => ({ status, body: JSON.stringify(value) })

/** By the path that makes one: what its id begins with, and its `object`. */
const MADE: readonly (readonly [path: RegExp, prefix: string, object: string])[] = [
  [/^\/v1\/files$/, 'file-', 'file'],
  [/^\/v1\/uploads$/, 'upload_', 'upload'],
  [/^\/v1\/uploads\/[^/]+\/parts$/, 'part_', 'upload.part'],
  [/^\/v1\/batches$/, 'batch_', 'batch'],
  [/^\/v1\/vector_stores$/, 'vs_', 'vector_store'],
  [/^\/v1\/vector_stores\/[^/]+\/file_batches$/, 'vsfb_', 'vector_store.files_batch'],
  [/^\/v1\/containers$/, 'cntr_', 'container'],
  [/^\/v1\/containers\/[^/]+\/files$/, 'cfile_', 'container.file'],
  [/^\/v1\/fine_tuning\/jobs$/, 'ftjob-', 'fine_tuning.job'],
]

const LISTED = new Set([
  '/v1/files',
  '/v1/batches',
  '/v1/vector_stores',
  '/v1/containers',
  '/v1/fine_tuning/jobs',
  '/v1/chat/completions',
  '/v1/messages/batches',
])

const placeOf = (all: readonly Made[], of: string): [at: number, count: number] => {
  const at = all.findIndex(({ id }) => id === of)
  return [Math.max(0, at), at === -1 ? 0 : 1]
}

/** Newest first, as the APIs list them. */
function listed(all: readonly Made[], url: string, isAnthropic: boolean): Answer {
  const { searchParams: query } = new URL(url, 'http://upstream.test')
  const ordered = query.get('order') === 'asc' ? all : all.toReversed()
  const limit = Number(query.get('limit') ?? 20)
  // As Anthropic's Files API names its pages.
  const ids = query.getAll('ids[]')
  if (ids.length > 0) {
    const data = ordered.filter(({ id }) => ids.includes(id))
    return json({ data, next_page: null })
  }
  const isNamed = isAnthropic && url.startsWith('/v1/files')
  const after = isNamed
    ? query.get('page') && Buffer.from(query.get('page') ?? '', 'base64url').toString()
    : query.get(isAnthropic ? 'after_id' : 'after')
  const before = query.get(isAnthropic ? 'before_id' : 'before')
  const at = ordered.findIndex(({ id }) => id === (after ?? before))
  if ((after ?? before) !== null && at === -1) return json({ error: { message: 'no such' } }, 404)
  const [start, end] = before === null ? [at + 1, at + 1 + limit] : [Math.max(0, at - limit), at]
  const data = ordered.slice(start, end)
  const has_more = before === null ? end < ordered.length : start > 0
  if (isNamed) {
    const next = Buffer.from(data.at(-1)?.id ?? '').toString('base64url')
    return json({ data, next_page: has_more ? next : null })
  }
  const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null, has_more }
  return json({ ...(!isAnthropic && { object: 'list' }), data, ...ends })
}

/** `name`: is in no id, and makes them others than another server's. */
export async function startObjectServer(name = ''): Promise<ObjectServer> {
  const upstream = await startUpstream()
  const contents = new Map<string, Buffer>()
  const made = new Map<string, Made[]>()
  let count = 0
  const fresh = (prefix: string): string => {
    count += 1
    return `${prefix}${Bun.hash(`${name}${count}`).toString(16)}${count}`
  }
  const answer = ({ url = '', method, headers }: IncomingMessage, body: Buffer): Answer => {
    const [path = ''] = url.split('?')
    const isAnthropic = headers['anthropic-version'] !== undefined
    const [, id = '', below = ''] =
      /^\/v1\/(?:fine_tuning\/jobs|messages\/batches|[a-z_]+)\/([^/]+)(.*)$/.exec(path) ?? []
    if (method === 'GET' && LISTED.has(path)) return listed(made.get(path) ?? [], url, isAnthropic)
    if (method === 'DELETE') {
      for (const [at, all] of made) made.set(at, all.toSpliced(...placeOf(all, id)))
    }
    if (isAnthropic) return kept(path, anthropic(`${method} ${path}`, url, body, fresh))
    if (path === '/v1/responses')
      return json({ id: fresh('resp_'), object: 'response', output: [] })
    if (path === '/v1/chat/completions') {
      const message = { role: 'assistant', content: 'hi', audio: { id: fresh('audio_') } }
      const chat = { id: fresh('chatcmpl-'), object: 'chat.completion', choices: [{ message }] }
      return kept(path, json(chat))
    }
    if (method === 'DELETE') return json({ id, deleted: true })
    if (method === 'GET' && below.endsWith('/content')) {
      return {
        type: 'application/octet-stream',
        body: contents.get(id) ?? Buffer.from([0, 255, 10]),
      }
    }
    if (below === '/complete') {
      const file = { id: fresh('file-'), object: 'file', purpose: 'batch' }
      return json({ id, object: 'upload', status: 'completed', file })
    }
    const [, prefix, object] = MADE.find(([of]) => method === 'POST' && of.test(path)) ?? []
    if (prefix !== undefined) {
      return kept(path, json({ id: fresh(prefix), object, status: 'in_progress' }))
    }
    if (
      below === '/search' ||
      below.endsWith('/files') ||
      below === '/events' ||
      below === '/checkpoints'
    ) {
      return json({ object: 'list', data: [], has_more: false })
    }
    if (path.startsWith('/v1/batches/')) return batch(id)
    return json({ id, object: 'kept', status: 'completed' })
  }
  const kept = (path: string, answer: Answer): Answer => {
    if (LISTED.has(path) && typeof answer.body === 'string') {
      const { id } = JSON.parse(answer.body) as Made
      made.getOrInsert(path, []).push({ ...JSON.parse(answer.body), id })
    }
    return answer
  }
  const batch = (id: string): Answer =>
    json({
      id,
      object: 'batch',
      status: 'completed',
      output_file_id: `file-output-of-${id}`,
      error_file_id: `file-errors-of-${id}`,
    })
  let holding: (() => Promise<void>) | undefined
  upstream.respond(async (request, response, body) => {
    await holding?.()
    const { status = 200, type = 'application/json', body: said } = answer(request, body)
    response.writeHead(status, { 'content-type': type }).end(said)
  })
  return { upstream, contents, made, hold: (until) => void (holding = until) }
}

function anthropic(
  asked: string,
  url: string,
  body: Buffer,
  fresh: (prefix: string) => string,
): Answer {
  const [, id = ''] = /\/v1\/(?:files|messages\/batches)\/([^/?]+)/.exec(url) ?? []
  if (asked === 'POST /v1/files') {
    return json({ id: fresh('file_'), type: 'file', size_bytes: body.length, filename: 'a' })
  }
  if (asked === 'POST /v1/messages/batches') {
    return json({ id: fresh('msgbatch_'), type: 'message_batch', processing_status: 'in_progress' })
  }
  if (asked.endsWith('/content')) return { type: 'application/octet-stream', body: 'content' }
  if (asked.endsWith('/results')) return { type: 'application/x-jsonl', body: RESULTS }
  if (asked === 'POST /v1/messages') return json(MESSAGE)
  if (url.includes('/batches/')) {
    return json({
      id,
      type: 'message_batch',
      processing_status: 'ended',
      results_url: `https://api.upstream.example/v1/messages/batches/${id}/results`,
    })
  }
  return json({ id, type: asked.startsWith('DELETE') ? 'file_deleted' : 'file' })
}

const MESSAGE = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude-sonnet-5',
  container: { id: 'container_of_a_message', expires_at: '2026-12-01T00:00:00Z' },
  content: [
    {
      type: 'bash_code_execution_tool_result',
      tool_use_id: 'srvtoolu_1',
      content: {
        type: 'bash_code_execution_result',
        content: [{ type: 'bash_code_execution_output', file_id: 'file_that_code_wrote' }],
      },
    },
  ],
  usage: { input_tokens: 3, output_tokens: 2 },
}
const RESULTS = ['a', 'b']
  .map(
    (custom_id) =>
      `${JSON.stringify({ custom_id, result: { type: 'succeeded', message: MESSAGE } })}\n`,
  )
  .join('')
