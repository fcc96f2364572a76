// Whether a Content-Type declares JSON in UTF-8. It looks only at the header; the parser decides whether
// the bytes are JSON. In another charset the same bytes are other characters, and an upstream would read
// another body than we do.

/** Longer than any client writes; a longer header is not parsed. */
const MAX_LENGTH = 128

const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*charset=(?:"utf-?8"|utf-?8)[ \t]*)?;?$/i

/** The runtime has removed the surrounding white space (RFC 9110 §5.5). */
export function isPlainJson(contentType: string | null): boolean {
  if (contentType === null) return true
  return contentType.length <= MAX_LENGTH && JSON_TYPE.test(contentType)
}
