"""What Triton's Python backend runs: an echo, or the model."""

import json
from typing import Any

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """The class that the backend looks for; it gives every request of a batch at once."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model, if this is the one that has one."""
        given = json.loads(args["model_config"])["parameters"]
        folder = given["folder"]["string_value"]
        self.model = None
        if folder:
            from shared import Embedder

            self.model = Embedder(folder, int(given["threads"]["string_value"]))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests."""
        arrays = [pb_utils.get_input_tensor_by_name(r, "input").as_numpy() for r in requests]
        if self.model:
            vectors = self.model.embed([array.tobytes().decode() for array in arrays])
            arrays = [vector[None] for vector in vectors]
        answers = [pb_utils.Tensor("output", array) for array in arrays]
        return [pb_utils.InferenceResponse([answer]) for answer in answers]
