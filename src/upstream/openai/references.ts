// Reads the ids of stored objects in a request's body: an earlier response, a conversation, an item of
// either, a container with files. The upstream stores all of them under the operator's key, so the gate
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
    content: 'text',
    arguments: 'text',
    input: 'text',
    output: 'text',
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

export function referencesIn(body: Uint8Array): Decision<readonly string[]> {
  const ids: Ids = new Set()
  const found = new Outline(body, NAMES, ids).read(BODY)
  return typeof found === 'string' ? ambiguousBody(found) : granted([...ids])
}
