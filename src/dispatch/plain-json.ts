// Whether a Content-Type says that a body is JSON in UTF-8. Only the header is asked; that the bytes
// are JSON is for the reader of the bytes to say. Under another charset the same bytes are other
// characters, and an upstream would read another body than we do.

/** Longer than any client writes it; a longer one is not looked at. */
const MAX_LENGTH = 128

const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*charset=(?:"utf-?8"|utf-?8)[ \t]*)?;?$/i

/** The runtime has taken off the blanks around it (RFC 9110 §5.5). */
export function isPlainJson(contentType: string | null): boolean {
  if (contentType === null) return true
  return contentType.length <= MAX_LENGTH && JSON_TYPE.test(contentType)
}
