// gradio's before | after slider follows the mouse only: give its handle the focus, and let the arrow keys drag it.
new MutationObserver(() => {
  for (const handle of document.querySelectorAll('[data-testid="slider"]:not([tabindex])')) {
    handle.tabIndex = 0;
    handle.setAttribute('role', 'slider');
    handle.setAttribute('aria-label', 'Before and after: arrow keys move the divide');
  }
}).observe(document.documentElement, { childList: true, subtree: true });

document.addEventListener('keydown', (event) => {
  const handle = event.target instanceof Element && event.target.closest('[data-testid="slider"]');
  const wide = handle && handle.parentElement.getBoundingClientRect().width;
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key] * wide;
  if (!step) return;
  event.preventDefault();
  const inner = handle.querySelector('.inner') || handle, frame = inner.getBoundingClientRect();
  const from = frame.left + frame.width / 2, y = frame.top + frame.height / 2;
  const send = (target, type, x) => target.dispatchEvent(
    new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX: x, clientY: y, button: 0 }));
  send(inner, 'mousedown', from);
  send(window, 'mousemove', from + step);
  send(window, 'mouseup', from + step);
});
