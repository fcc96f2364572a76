// The routes for what an upstream keeps: files, uploads, batches, vector stores, containers, fine-tuning
// jobs. An id belongs to the caller whose request made it (dispatch/stored.ts).

import type { RouteGroup } from '../names.ts'
import type { Dialect } from '../refusal.ts'
import type { RelayedRoute } from './relayed-route.ts'

type More = Partial<Pick<RelayedRoute, 'runsNothing' | 'lists' | 'unpriced'>>
type Row = readonly [route: `${RelayedRoute['method']} ${string}`, about: string, more?: More]

/** The upstream's shows what every caller of its key made. */
const LISTS = { lists: true } as const
const RUNS = { runsNothing: false } as const
const unpriced = (what: string): More => ({ unpriced: what })

const VECTORS = unpriced('a vector store')
const CONTAINER = unpriced('a container')

const OPENAI: Readonly<Partial<Record<RouteGroup, readonly Row[]>>> = {
  uploads: [
    ['POST /v1/uploads', 'Begins an upload in parts.'],
    ['POST /v1/uploads/:id/parts', 'Adds a part to an upload.'],
    ['POST /v1/uploads/:id/complete', 'Completes an upload and returns its file.'],
    ['POST /v1/uploads/:id/cancel', 'Cancels an upload.'],
  ],
  batches: [
    ['POST /v1/batches', 'Creates a batch of the requests in a file.', RUNS],
    ['GET /v1/batches', "Lists the caller's own batches.", LISTS],
    ['GET /v1/batches/:id', "Returns the caller's own batch."],
    ['POST /v1/batches/:id/cancel', 'Cancels a batch.'],
  ],
  vector_stores: [
    ['POST /v1/vector_stores', 'Creates a vector store.', VECTORS],
    ['GET /v1/vector_stores', "Lists the caller's own vector stores.", LISTS],
    ['GET /v1/vector_stores/:id', "Returns the caller's own vector store."],
    ['POST /v1/vector_stores/:id', 'Changes a vector store.', VECTORS],
    ['DELETE /v1/vector_stores/:id', 'Deletes a vector store.'],
    [
      'POST /v1/vector_stores/:id/search',
      'Searches a vector store.',
      unpriced('a search of a vector store'),
    ],
    ['POST /v1/vector_stores/:id/files', 'Adds a file to a vector store.', VECTORS],
    ['GET /v1/vector_stores/:id/files', 'Lists the files of a vector store.'],
    ['GET /v1/vector_stores/:id/files/:item', 'Returns one of its files.'],
    ['POST /v1/vector_stores/:id/files/:item', 'Changes the attributes of a file.'],
    ['DELETE /v1/vector_stores/:id/files/:item', 'Removes a file from a vector store.'],
    ['GET /v1/vector_stores/:id/files/:item/content', 'Returns the parsed content of a file.'],
    ['POST /v1/vector_stores/:id/file_batches', 'Adds several files to a vector store.', VECTORS],
    ['GET /v1/vector_stores/:id/file_batches/:item', 'Returns the state of such a batch of files.'],
    ['POST /v1/vector_stores/:id/file_batches/:item/cancel', 'Cancels it.'],
    ['GET /v1/vector_stores/:id/file_batches/:item/files', 'Lists its files.'],
  ],
  containers: [
    ['POST /v1/containers', 'Creates a container.', CONTAINER],
    ['GET /v1/containers', "Lists the caller's own containers.", LISTS],
    ['GET /v1/containers/:id', "Returns the caller's own container."],
    ['DELETE /v1/containers/:id', 'Deletes a container.'],
    ['POST /v1/containers/:id/files', 'Creates a file in a container.', CONTAINER],
    ['GET /v1/containers/:id/files', 'Lists the files of a container.'],
    ['GET /v1/containers/:id/files/:item', 'Returns the metadata of one.'],
    ['DELETE /v1/containers/:id/files/:item', 'Deletes a file of a container.'],
    ['GET /v1/containers/:id/files/:item/content', 'Returns its content.'],
  ],
  fine_tuning: [
    ['POST /v1/fine_tuning/jobs', 'Creates a fine-tuning job.', RUNS],
    ['GET /v1/fine_tuning/jobs', "Lists the caller's own fine-tuning jobs.", LISTS],
    ['GET /v1/fine_tuning/jobs/:id', "Returns the caller's own fine-tuning job."],
    ['POST /v1/fine_tuning/jobs/:id/cancel', 'Cancels a job.'],
    ['POST /v1/fine_tuning/jobs/:id/pause', 'Pauses a job.'],
    ['POST /v1/fine_tuning/jobs/:id/resume', 'Resumes a job.'],
    ['GET /v1/fine_tuning/jobs/:id/events', 'Lists the events of a job.'],
    ['GET /v1/fine_tuning/jobs/:id/checkpoints', 'Lists the checkpoints of a job.'],
  ],
}

const ANTHROPIC: readonly Row[] = [
  ['POST /v1/messages/batches', 'Creates a batch.', RUNS],
  ['GET /v1/messages/batches', "Lists the caller's own batches.", LISTS],
  ['GET /v1/messages/batches/:id', "Returns the caller's own batch."],
  ['POST /v1/messages/batches/:id/cancel', 'Cancels a batch.'],
  ['GET /v1/messages/batches/:id/results', 'Returns the results of a batch.'],
  ['DELETE /v1/messages/batches/:id', 'Deletes a batch.'],
]

const FILES: readonly Row[] = [
  ['POST /v1/files', 'Uploads a file.'],
  ['GET /v1/files', "Lists the caller's own files.", LISTS],
  ['GET /v1/files/:id', "Returns the metadata of the caller's own file."],
  ['GET /v1/files/:id/content', 'Returns the content of a file.'],
  ['DELETE /v1/files/:id', 'Deletes a file.'],
]

const routesOf = (
  rows: readonly Row[],
  group: RouteGroup,
  dialects: readonly Dialect[],
): readonly RelayedRoute[] =>
  rows.map(([route, about, { runsNothing = true, ...more } = {}]) => {
    const [method, path] = route.split(' ') as [RelayedRoute['method'], string]
    return { method, path, group, dialects, about, ...(runsNothing && { runsNothing }), ...more }
  })

export const KEPT_ROUTES: readonly RelayedRoute[] = [
  ...routesOf(FILES, 'files', ['openai', 'anthropic']),
  ...Object.entries(OPENAI).flatMap(([group, rows]) =>
    routesOf(rows, group as RouteGroup, ['openai']),
  ),
  ...routesOf(ANTHROPIC, 'batches', ['anthropic']),
]
