// Adds the headers that isolate the page, without which there are no threads, and keeps its files for use offline.
// VERSION, FIRST and LATER are put in by build.mjs: a hash of all files, what the page is made of, and what it loads.
const NAME = `repix ${self.registration.scope} ${VERSION}`;
const fresh = (url) => new Request(url, { cache: 'no-cache' });

self.addEventListener('install', (event) => event.waitUntil((async () => {
  const cache = await caches.open(NAME);
  // on the first visit the page itself asks for the large files; of a new version all must be there before the old one goes
  await cache.addAll((self.registration.active ? [...FIRST, ...LATER] : FIRST).map(fresh));
})()));

self.addEventListener('activate', (event) => event.waitUntil((async () => {
  const old = (await caches.keys()).filter((name) => name.startsWith(`repix ${self.registration.scope} `) && name !== NAME);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
})()));

async function answer(request) {
  const cache = await caches.open(NAME), kept = await cache.match(request, { ignoreSearch: true });
  const found = kept ?? await fetch(request);
  if (!kept && found.ok) await cache.put(request, found.clone());
  const headers = new Headers(found.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}

self.addEventListener('fetch', (event) => {
  if (event.request.method === 'GET' && event.request.url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});
