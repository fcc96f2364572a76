// Reads the ids of stored objects in a request's body: an earlier response, a conversation, an item of
// either, a file, a vector store, a container. The upstream stores all of them under the operator's key, so the gate
// must check their owner. An id that cannot be read is '', which belongs to nobody.

import { type Decision, granted } from '../../refusal.ts'
import { stringIn } from '../reading/members.ts'
import { type Names, Outline, type OutlinedMembers, type OutlineShape } from '../reading/outline.ts'
import { outlineTables } from '../reading/outline-tables.ts'
import { ambiguousBody } from '../reading/unparsed.ts'

type Ids = Set<string>

const { known, shape } = outlineTables<Ids>()

/** An id alone or in an object, or a list of either. */
const ID = shape(
  { id: 'text' },
  {
    scalar: (text, to) => void (text === 'null' || to.add(stringIn(text) ?? '')),
    leave: (found, to) => void (found.has('id') && to.add(stringIn(found.get('id')) ?? '')),
  },
)

/** For values of unknown meaning. */
const ANY = shape({ container_id: ID, previous_response_id: ID })

/**
 * Items whose whole content is in this member of the body: messages, and the calls of the caller's own
 * tools. Other members do not count: a server that looks an item up by its id may ignore them.
 */
const TOLD: readonly (readonly [type: RegExp, member: string])[] = [
  [/^message$/, 'content'],
  [/^function_call$/, 'arguments'],
  [/^custom_tool_call$/, 'input'],
  [
    /^(?:function_call|custom_tool_call|computer_call|local_shell_call|shell_call|apply_patch_call)_output$/,
    'output',
  ],
  [/^mcp_approval_response$/, 'approve'],
  [/^(?:reasoning|compaction(?:_summary)?)$/, 'encrypted_content'],
]

/** What a message carries, or a tool found: its parts may name files. */
const PARTS = shape(
  { text: 'opaque', arguments: 'opaque', annotations: 'opaque', logprobs: 'opaque' },
  { isTold: true },
)

const TOOL = shape({
  type: 'opaque',
  container: ID,
  function: 'opaque',
  parameters: 'opaque',
  description: 'opaque',
  format: 'opaque',
  filters: 'opaque',
})

const ITEM: OutlineShape<Ids> = shape(
  {
    type: 'text',
    id: 'text',
    container_id: ID,
    content: PARTS,
    arguments: 'text',
    input: 'text',
    output: PARTS,
    approve: 'text',
    encrypted_content: 'text',
    role: 'opaque',
    summary: 'opaque',
    action: 'opaque',
    operation: 'opaque',
    tools: TOOL,
  },
  { leave: gatherItem },
)

/** The API may look up an item without content. */
function gatherItem(found: OutlinedMembers, to: Ids): undefined {
  if (!isGiven(found, 'id')) return
  const type = isGiven(found, 'type') ? stringIn(found.get('type')) : 'message'
  const isTold = TOLD.some(([of, member]) => of.test(type ?? '') && isGiven(found, member))
  if (!isTold) to.add(stringIn(found.get('id')) ?? '')
}

/** A value that is too long to be kept still exists. */
const isGiven = (found: OutlinedMembers, name: string): boolean => {
  const text = found.get(name)
  return text !== undefined && text !== 'null' && text !== '""'
}

/** A response, a question about one that is not created, or items for a conversation. */
const BODY = shape({
  previous_response_id: ID,
  conversation: ID,
  input: ITEM,
  items: ITEM,
  tools: TOOL,
  // A text; some servers accept items.
  instructions: ITEM,
  metadata: 'opaque',
  text: 'opaque',
})

const NAMES: Names<Ids> = { known, unlisted: () => ANY, named: () => undefined }

/** Wherever they stand: `file_id`, `fileIds`. */
const FILES: ReadonlySet<string> = new Set([
  'fileid',
  'fileids',
  'inputfileid',
  'outputfileid',
  'trainingfile',
  'validationfile',
  'vectorstoreid',
  'vectorstoreids',
  'partids',
])
const WITH_FILES: Names<Ids> = {
  known,
  unlisted: (folded) => (FILES.has(folded) ? ID : ANY),
  named: () => undefined,
}

/** A chat, whose messages may name files, and sound that was said in another. */
const chatWith = (audio: OutlineShape<Ids> | 'opaque') =>
  shape({
    messages: shape({
      content: PARTS,
      audio,
      tool_calls: 'opaque',
      function_call: 'opaque',
      reasoning_details: 'opaque',
    }),
    tools: 'opaque',
    functions: 'opaque',
    response_format: 'opaque',
    metadata: 'opaque',
    logit_bias: 'opaque',
  })

/** A batch, a job, a vector store, a container, and what is put into one. */
const OBJECT = shape({
  metadata: 'opaque',
  attributes: 'opaque',
  filters: 'opaque',
  parameters: 'opaque',
  files: shape({ attributes: 'opaque' }),
})

type ReadReferences = (body: Uint8Array) => Decision<readonly string[]>

const reading =
  (names: Names<Ids>, of: OutlineShape<Ids>): ReadReferences =>
  (body) => {
    const ids: Ids = new Set()
    const found = new Outline(body, names, ids).read(of)
    return typeof found === 'string' ? ambiguousBody(found) : granted([...ids])
  }

export const referencesIn = reading(NAMES, BODY)
const withFilesIn = reading(WITH_FILES, BODY)
const chatReferencesIn = reading(WITH_FILES, chatWith('opaque'))
const soundIn = reading(NAMES, chatWith(ID))
const chatAndSoundIn = reading(WITH_FILES, chatWith(ID))
const objectReferencesIn = reading(WITH_FILES, OBJECT)

/** Of a route's pattern, or of a path. */
const RESPONSES =
  /^\/v1\/(?:responses(?:\/compact|\/input_tokens)?|conversations(?:\/[^/]+\/items)?)$/
const OBJECTS =
  /^\/v1\/(?:batches|uploads\/[^/]+\/complete|vector_stores(?:\/[^/]+\/(?:files|file_batches))?|containers(?:\/[^/]+\/files)?|fine_tuning\/jobs|images\/edits)$/

export interface KeptThere {
  /** Callers of this gate make files there, whose owners are known. */
  readonly hasFiles: boolean
  /** The ids of chats, and of the sound in them, are known. */
  readonly keepsChats: boolean
}

export function referringTo(
  path: string,
  { hasFiles, keepsChats }: KeptThere,
): ReadReferences | undefined {
  if (RESPONSES.test(path)) return hasFiles ? withFilesIn : referencesIn
  if (path === '/v1/chat/completions') {
    if (!hasFiles) return keepsChats ? soundIn : undefined
    return keepsChats ? chatAndSoundIn : chatReferencesIn
  }
  return hasFiles && OBJECTS.test(path) ? objectReferencesIn : undefined
}
