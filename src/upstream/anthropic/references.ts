// Which ids of what Anthropic keeps a request's body names: a file in a message, in a tool's result or for
// a container, and the container itself. An id that cannot be read is '', which is nobody's.

import { type Decision, granted } from '../../refusal.ts'
import { stringIn } from '../reading/members.ts'
import { type Names, Outline, type OutlinedMembers, type OutlineShape } from '../reading/outline.ts'
import { outlineTables } from '../reading/outline-tables.ts'
import { ambiguousBody } from '../reading/unparsed.ts'

type Ids = Set<string>

const { known, shape, add } = outlineTables<Ids>()

/** By itself, in an object, or several of either. */
const ID = shape(
  { id: 'text' },
  {
    scalar: (text, to) => void (text === 'null' || to.add(stringIn(text) ?? '')),
    leave: (found, to) =>
      void (isGiven(found.get('id')) && to.add(stringIn(found.get('id')) ?? '')),
  },
)

const isGiven = (text: unknown): boolean => text !== undefined && text !== 'null'

const ANY = shape({ input_schema: 'opaque', output_schema: 'opaque', metadata: 'opaque' })

/** What a server tool found comes back as it was told, with the ids of files that it wrote. */
const TOLD = /^(?!tool_result$).*_tool_result$/

const BLOCK: OutlineShape<Ids> = shape(
  { type: 'text', text: 'opaque', input: 'opaque', citations: 'opaque', content: 'later' },
  {
    isOpaque(_name: string, found: OutlinedMembers) {
      return TOLD.test(stringIn(found.get('type')) ?? '')
    },
  },
)
const MESSAGE = shape({ content: BLOCK })

const BODY = shape({
  messages: MESSAGE,
  system: BLOCK,
  container: ID,
  tools: ANY,
  metadata: 'opaque',
  output_config: 'opaque',
  output_format: 'opaque',
})
/** `POST /v1/messages/batches`. */
const BATCH = shape({ requests: shape({ params: BODY }) })
add(ANY, { content: BLOCK })

/** Wherever they stand. */
const FILES: ReadonlySet<string> = new Set(['fileid', 'fileids', 'containerid'])

const NAMES: Names<Ids> = {
  known,
  // What is not known of a block's content is looked into as a block.
  unlisted: (folded) => (folded === '' ? BLOCK : FILES.has(folded) ? ID : ANY),
  named: () => undefined,
}

type ReadReferences = (body: Uint8Array) => Decision<readonly string[]>

const reading =
  (of: OutlineShape<Ids>): ReadReferences =>
  (body) => {
    const ids: Ids = new Set()
    const found = new Outline(body, NAMES, ids).read(of)
    return typeof found === 'string' ? ambiguousBody(found) : granted([...ids])
  }

const messageReferencesIn = reading(BODY)
const batchReferencesIn = reading(BATCH)

export function anthropicReferring(path: string): ReadReferences | undefined {
  if (path === '/v1/messages' || path === '/v1/messages/count_tokens') return messageReferencesIn
  return path === '/v1/messages/batches' ? batchReferencesIn : undefined
}
