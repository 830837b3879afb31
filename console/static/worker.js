// The service worker: shows a pushed notice, and opens the live page when it is pressed.
"use strict";
self.addEventListener("push", (event) => {
  const notice = event.data ? event.data.json() : {};
  event.waitUntil(self.registration.showNotification(notice.title || "Anju", {
    body: notice.body || "", tag: notice.tag, icon: "/static/icon.svg", requireInteraction: true,
  }));
});
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow("/"));
});
