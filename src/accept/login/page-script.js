// Improves the page if scripts run; without them its forms do the same. Each form is sent as usual, and
// the <main> of the response replaces the current one. Nothing is stored, nothing is requested from
// anybody but this gate, and no text becomes markup here: XMLHttpRequest parses the response into a
// document that runs no scripts.

const said = document.getElementById('said')

/** `heard`: for screen readers only; otherwise the text is visible too. */
function say(text, heard) {
  said.className = heard ? 'heard' : ''
  said.textContent = text
}

function show(answer) {
  const main = answer?.querySelector('main')
  if (!main) {
    say('The gate could not do that. Is it still running?', false)
    return
  }
  document.title = answer.title
  document.querySelector('main').replaceWith(document.adoptNode(main))
  dress()
  const heading = document.querySelector('h1')
  say(heading.textContent, true)
  heading.focus()
  window.scrollTo(0, 0)
}

/** Controls that need a script are hidden without one. */
function dress() {
  for (const button of document.querySelectorAll('button[data-copy]')) button.hidden = false
  for (const time of document.querySelectorAll('time')) {
    const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
    time.title = time.dateTime
    time.textContent = format.format(new Date(time.dateTime))
  }
}

function send(form) {
  const buttons = [...form.querySelectorAll('button')]
  const busy = (on) => {
    form.ariaBusy = String(on)
    for (const button of buttons) button.ariaDisabled = String(on)
  }
  const request = new XMLHttpRequest()
  request.open('POST', form.action)
  request.responseType = 'document'
  request.setRequestHeader('accept', 'text/html')
  request.addEventListener('loadend', () => {
    busy(false)
    show(request.response)
  })
  busy(true)
  request.send(new URLSearchParams(new FormData(form)))
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy)
  try {
    await navigator.clipboard.writeText(source.textContent)
  } catch {
    getSelection().selectAllChildren(source)
    say('It is selected: copy it with the keyboard.', false)
    return
  }
  say('Copied.', true)
  const label = button.dataset.label ?? button.textContent
  button.dataset.label = label
  button.textContent = 'Copied'
  setTimeout(() => {
    button.textContent = label
  }, 2000)
}

document.addEventListener('submit', (event) => {
  event.preventDefault()
  // A form that is being sent is not sent again: its content is valid once.
  if (event.target.ariaBusy !== 'true') send(event.target)
})

document.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-copy]')
  if (button) void copy(button)
})

// Removes the used code from the address bar and the history; a reload then shows the current state.
if (location.pathname === '/auth/callback') history.replaceState(null, '', '/auth/device')

dress()
