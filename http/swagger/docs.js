// Nothing is asked of anybody but this node: the validator, which is elsewhere, is switched off.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#endpoints",
  deepLinking: true,
  validatorUrl: null,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  persistAuthorization: false,
});
