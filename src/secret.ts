// A value that must not reach a log, an error or a page by accident: converting it to text in any way
// gives `[secret]`, and the only way to the value is a method name that a reader can search for.

/** `inspect.custom` of node:util, which takes a millisecond to load. */
const INSPECTED = Symbol.for('nodejs.util.inspect.custom')

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [INSPECTED](): string {
    return '[secret]'
  }
}

/** Whether two lists hold the same secrets in the same order. */
export const areSameSecrets = (a: readonly Secret[], b: readonly Secret[]): boolean =>
  a.length === b.length && a.every((each, at) => each.reveal() === b[at]?.reveal())

/** A secret that may be replaced: read it when needed, and keep it nowhere. */
export type Revealing = Pick<Secret, 'reveal'>
