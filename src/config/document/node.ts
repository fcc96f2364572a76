// The content of a document in any of its three languages: a tree in which every node has its line.

export interface Position {
  readonly line: number
  readonly column: number
}

export interface Member {
  readonly name: string
  readonly at: Position
  readonly value: Node
}

export interface MapNode {
  readonly kind: 'map'
  readonly at: Position
  readonly members: readonly Member[]
}

export interface ListNode {
  readonly kind: 'list'
  readonly at: Position
  readonly items: readonly Node[]
}

export interface ValueNode {
  readonly kind: 'value'
  readonly at: Position
  /** `undefined` stands for values that no setting accepts: a date, an infinite number. */
  readonly value: string | number | boolean | null | undefined
}

export type Node = MapNode | ListNode | ValueNode

/** Text that is not of the language that the file's ending names. */
export interface Unreadable {
  readonly at: Position
  /** The member that is wrong, if it is one. */
  readonly name?: string | undefined
  readonly message: string
  readonly hint: string
}

export type Parsed =
  | { readonly ok: true; readonly root: Node }
  | { readonly ok: false; readonly wrong: readonly Unreadable[] }

export const START: Position = { line: 1, column: 1 }
