// Keeps the page for times without a network: all its files, as they were when this version was installed.

importScripts("version.js"); // VERSION, of all that is in FILES; a new one makes this a new service worker

const PREFIX = `page ${registration.scope} `; // other pages may lie on the same host
const CACHE = PREFIX + VERSION;

addEventListener("install", (event) => {
  const requests = FILES.map((name) => new Request(name, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  const old = (name) => name.startsWith(PREFIX) && name !== CACHE;
  const clean = async () => Promise.all((await caches.keys()).filter(old).map((name) => caches.delete(name)));
  event.waitUntil(clean().then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const wanted = event.request.mode === "navigate" ? "./" : event.request; // under whatever name it is visited
  const find = async () => (await (await caches.open(CACHE)).match(wanted)) ?? fetch(event.request);
  if (event.request.method === "GET") event.respondWith(find());
});
