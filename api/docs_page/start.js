// In a file of its own, since the page allows no script inside it.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#operations",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null, // it would send the document to another host
});
