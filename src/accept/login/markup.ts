// The only place that makes HTML, so that everything is escaped: a template inserts strings as text, and
// only values made by this file as markup.

declare const made: unique symbol

export interface Markup {
  readonly html: string
  readonly [made]: true
}

type Piece = Markup | string | number | undefined | readonly Markup[]

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** `undefined` inserts nothing. Quote attributes in the template. */
export function html(parts: TemplateStringsArray, ...pieces: readonly Piece[]): Markup {
  const text = parts.reduce((all, part, at) => all + markupOf(pieces[at - 1]) + part)
  return { html: text } as Markup
}

function markupOf(piece: Piece): string {
  if (piece === undefined) return ''
  if (typeof piece === 'string' || typeof piece === 'number') {
    return String(piece).replaceAll(/[&<>"']/g, (char) => ESCAPES[char] ?? '')
  }
  return 'html' in piece ? piece.html : piece.map((each) => each.html).join('')
}
