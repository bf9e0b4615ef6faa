"""An encoder with a linear head on its pooled last states."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class PooledClassifier(PreTrainedModel):
    """A linear head on the pooled last hidden states of an encoder.

    `mean` averages over the tokens that are not padding, as sentence encoders are trained (Reimers and Gurevych 2019,
    section 3); `cls` takes the first token.

    Args:
        config: the encoder's configuration; `num_labels` and `problem_type` are read from it.
        encoder: the encoder, returning `last_hidden_state` of shape (batch, length, hidden).
        pooling: "mean" or "cls".
    """

    base_model_prefix = "encoder"
    #: The loss is a mean over the batch, whatever number of labels the `Trainer` tells.
    loss_is_mean = True
    # The attention is the encoder's, which has made its own choice when it gets here.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: PretrainedConfig, encoder: nn.Module, pooling: str) -> None:
        super().__init__(config)
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(getattr(config, "hidden_dropout_prob", 0.0))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        nn.init.normal_(self.classifier.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.classifier.bias)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Tensor,
    ) -> SequenceClassifierOutput:
        """Logits (batch, num_labels) and, given labels (batch,), the mean loss.

        Every column of a tokenizer is named here: `Trainer` drops those that a forward does not name.
        """
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
        if self.pooling == "mean":
            mask = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        else:
            pooled = states[:, 0]
        logits = self.classifier(self.dropout(pooled))
        return SequenceClassifierOutput(loss=None if labels is None else self._loss(logits, labels), logits=logits)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config.problem_type == "regression":
            return nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels)
