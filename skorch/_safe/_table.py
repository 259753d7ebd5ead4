"""The names that a file may use without being trusted, each by its exact name.

A name is here only if neither making an instance without its constructor and setting any
attributes, nor calling it with any arguments that a file can hold, does more than compute: it
opens, runs, imports and sends nothing. Callbacks that write files do so only when the net
trains on.

"""

from __future__ import annotations

# Classes of which a file may hold instances; their names may stand for themselves as well.
CLASSES: dict[str, tuple[str, ...]] = {
    'skorch': (
        *('NeuralNet', 'NeuralNetBinaryClassifier', 'NeuralNetClassifier', 'NeuralNetRegressor'),
    ),
    'skorch.callbacks': (
        *('BatchScoring', 'Callback', 'Checkpoint', 'EarlyStopping', 'EpochScoring', 'EpochTimer'),
        *('Freezer', 'GradientNormClipping', 'Initializer', 'InputShapeSetter', 'LRScheduler'),
        *('LoadInitState', 'MlflowLogger', 'NeptuneLogger', 'ParamMapper', 'PassthroughScoring'),
        *('PrintLog', 'ProgressBar', 'SacredLogger', 'TensorBoard', 'TrainEndCheckpoint'),
        *('Unfreezer', 'WandbLogger', 'WarmRestartLR'),
    ),
    'skorch._components': ('InitialState',),
    'skorch.callbacks._shared_files': ('Family',),
    'skorch.hf._settings': ('AcceleratorSettings',),
    'skorch.dataset': ('Dataset', 'ValidSplit'),
    'skorch.helper': ('DataFrameTransformer', 'SliceDataset', 'SliceDict'),
    'skorch.history': ('DistributedHistory', 'History'),
    'skorch.toy': ('MLPModule',),
    'torch.nn': (
        *('AdaptiveAvgPool1d', 'AdaptiveAvgPool2d', 'AdaptiveAvgPool3d', 'AdaptiveMaxPool1d'),
        *('AdaptiveMaxPool2d', 'AdaptiveMaxPool3d', 'AdaptiveLogSoftmaxWithLoss', 'AlphaDropout'),
        *('AvgPool1d', 'AvgPool2d', 'AvgPool3d', 'BCELoss', 'BCEWithLogitsLoss', 'BatchNorm1d'),
        *('BatchNorm2d', 'BatchNorm3d', 'Bilinear', 'CELU', 'CTCLoss', 'ChannelShuffle'),
        *('CircularPad1d', 'CircularPad2d', 'CircularPad3d', 'ConstantPad1d', 'ConstantPad2d'),
        *('ConstantPad3d', 'Conv1d', 'Conv2d', 'Conv3d', 'ConvTranspose1d', 'ConvTranspose2d'),
        *('ConvTranspose3d', 'CosineEmbeddingLoss', 'CosineSimilarity', 'CrossEntropyLoss'),
        *('CrossMapLRN2d', 'Dropout', 'Dropout1d', 'Dropout2d', 'Dropout3d', 'ELU', 'Embedding'),
        *('EmbeddingBag', 'FeatureAlphaDropout', 'Flatten', 'Fold', 'FractionalMaxPool2d'),
        *('FractionalMaxPool3d', 'GELU', 'GLU', 'GRU', 'GRUCell', 'GaussianNLLLoss', 'GroupNorm'),
        *('Hardshrink', 'Hardsigmoid', 'Hardswish', 'Hardtanh', 'HingeEmbeddingLoss', 'HuberLoss'),
        *('Identity', 'InstanceNorm1d', 'InstanceNorm2d', 'InstanceNorm3d', 'KLDivLoss', 'L1Loss'),
        *('LPPool1d', 'LPPool2d', 'LPPool3d', 'LSTM', 'LSTMCell', 'LayerNorm', 'LazyBatchNorm1d'),
        *('LazyBatchNorm2d', 'LazyBatchNorm3d', 'LazyConv1d', 'LazyConv2d', 'LazyConv3d'),
        *('LazyConvTranspose1d', 'LazyConvTranspose2d', 'LazyConvTranspose3d', 'LazyLinear'),
        *('LeakyReLU', 'Linear', 'LocalResponseNorm', 'LogSigmoid', 'LogSoftmax', 'MSELoss'),
        *('MarginRankingLoss', 'MaxPool1d', 'MaxPool2d', 'MaxPool3d', 'MaxUnpool1d'),
        *('MaxUnpool2d', 'MaxUnpool3d', 'Mish', 'Module', 'ModuleDict', 'ModuleList'),
        *('MultiLabelMarginLoss', 'MultiLabelSoftMarginLoss', 'MultiMarginLoss', 'NLLLoss'),
        *('MultiheadAttention', 'PReLU', 'PairwiseDistance', 'ParameterDict', 'ParameterList'),
        *('PixelShuffle', 'PixelUnshuffle', 'PoissonNLLLoss', 'RMSNorm', 'RNN', 'RNNCell'),
        *('RReLU', 'ReLU', 'ReLU6', 'ReflectionPad1d', 'ReflectionPad2d', 'ReflectionPad3d'),
        *('ReplicationPad1d', 'ReplicationPad2d', 'ReplicationPad3d', 'SELU', 'Sequential'),
        *('SiLU', 'Sigmoid', 'SmoothL1Loss', 'SoftMarginLoss', 'Softmax', 'Softmax2d'),
        *('Softmin', 'Softplus', 'Softshrink', 'Softsign', 'SyncBatchNorm', 'Tanh', 'Tanhshrink'),
        *('Threshold', 'Transformer', 'TransformerDecoder', 'TransformerDecoderLayer'),
        *('TransformerEncoder', 'TransformerEncoderLayer', 'TripletMarginLoss', 'Unflatten'),
        *('TripletMarginWithDistanceLoss', 'Unfold', 'Upsample', 'UpsamplingBilinear2d'),
        *('UpsamplingNearest2d', 'ZeroPad1d', 'ZeroPad2d', 'ZeroPad3d'),
    ),
    'torch.nn.modules.linear': ('NonDynamicallyQuantizableLinear',),
    'torch.optim': (
        *('ASGD', 'Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamW', 'Adamax', 'LBFGS', 'NAdam'),
        *('RAdam', 'RMSprop', 'Rprop', 'SGD', 'SparseAdam'),
    ),
    'torch.optim.lr_scheduler': (
        *('ChainedScheduler', 'ConstantLR', 'CosineAnnealingLR', 'CosineAnnealingWarmRestarts'),
        *('CyclicLR', 'ExponentialLR', 'LambdaLR', 'LinearLR', 'MultiStepLR', 'MultiplicativeLR'),
        *('OneCycleLR', 'PolynomialLR', 'ReduceLROnPlateau', 'SequentialLR', 'StepLR'),
    ),
    'torch.utils.data': (
        *('BatchSampler', 'ConcatDataset', 'RandomSampler', 'SequentialSampler', 'Subset'),
        *('SubsetRandomSampler', 'TensorDataset', 'WeightedRandomSampler'),
    ),
    'sklearn.metrics._scorer': ('_PassthroughScorer', '_Scorer'),
    'sklearn.model_selection': (
        *('GroupKFold', 'GroupShuffleSplit', 'KFold', 'LeaveOneGroupOut', 'LeaveOneOut'),
        *('LeavePGroupsOut', 'LeavePOut', 'PredefinedSplit', 'RepeatedKFold', 'ShuffleSplit'),
        *('RepeatedStratifiedKFold', 'StratifiedGroupKFold', 'StratifiedKFold'),
        *('StratifiedShuffleSplit', 'TimeSeriesSplit'),
    ),
}

# Functions, and classes that are used only by being called.
CALLABLES: dict[str, tuple[str, ...]] = {
    'builtins': (
        *('abs', 'all', 'any', 'bool', 'bytes', 'complex', 'dict', 'float', 'frozenset', 'int'),
        *('len', 'list', 'max', 'min', 'object', 'print', 'range', 'repr', 'reversed', 'round'),
        *('set', 'slice', 'sorted', 'str', 'sum', 'tuple'),
    ),
    'collections': ('Counter', 'OrderedDict', 'defaultdict', 'deque'),
    'numpy': (
        *('abs', 'absolute', 'argmax', 'argmin', 'asarray', 'clip', 'cos', 'exp', 'expm1', 'log'),
        *('log10', 'log1p', 'log2', 'max', 'mean', 'median', 'min', 'ndarray', 'negative'),
        *('ravel', 'round', 'sin', 'sqrt', 'square', 'squeeze', 'std', 'sum', 'tanh', 'var'),
        *('bool_', 'float16', 'float32', 'float64', 'int16', 'int32', 'int64', 'int8', 'uint8'),
    ),
    'skorch.dataset': ('get_len', 'unpack_data'),
    'skorch.helper': ('predefined_split',),
    'skorch.scoring': ('loss_scoring',),
    'skorch.setter': ('optimizer_setter',),
    'skorch.toy': ('make_binary_classifier', 'make_classifier', 'make_regressor'),
    'skorch.callbacks.logging': ('rename_tensorboard_key',),
    'skorch.utils': (
        *('_identity', '_indexing_dict', '_indexing_list_tuple_of_data', '_indexing_ndframe'),
        *('_indexing_none', '_indexing_other', '_infer_predict_nonlinearity', '_make_2d_probs'),
        *('_make_split', '_sigmoid_then_2d', 'data_from_dataset', 'freeze_parameter', 'noop'),
        *('multi_indexing', 'to_device', 'to_numpy', 'to_tensor', 'train_loss_score'),
        *('unfreeze_parameter', 'valid_loss_score'),
    ),
    'sklearn.metrics': (
        *('accuracy_score', 'auc', 'average_precision_score', 'balanced_accuracy_score'),
        *('brier_score_loss', 'cohen_kappa_score', 'confusion_matrix', 'd2_absolute_error_score'),
        *('d2_pinball_score', 'd2_tweedie_score', 'explained_variance_score', 'f1_score'),
        *('fbeta_score', 'hamming_loss', 'hinge_loss', 'jaccard_score', 'log_loss', 'max_error'),
        *('matthews_corrcoef', 'mean_absolute_error', 'mean_absolute_percentage_error'),
        *('mean_gamma_deviance', 'mean_pinball_loss', 'mean_poisson_deviance'),
        *('mean_squared_error', 'mean_squared_log_error', 'mean_tweedie_deviance'),
        *('median_absolute_error', 'ndcg_score', 'precision_score', 'r2_score', 'recall_score'),
        *('roc_auc_score', 'root_mean_squared_error', 'root_mean_squared_log_error'),
        *('top_k_accuracy_score', 'zero_one_loss'),
    ),
    'torch': (
        *('abs', 'argmax', 'cos', 'exp', 'log', 'log_softmax', 'mean', 'relu', 'sigmoid', 'sin'),
        *('softmax', 'sqrt', 'square', 'squeeze', 'stack', 'sum', 'tanh', 'Tensor'),
    ),
    'torch._C._nn': ('log_sigmoid',),
    'torch.nn.functional': (
        *('adaptive_avg_pool1d', 'adaptive_avg_pool2d', 'alpha_dropout', 'avg_pool1d'),
        *('avg_pool2d', 'binary_cross_entropy', 'binary_cross_entropy_with_logits', 'celu'),
        *('cosine_embedding_loss', 'cosine_similarity', 'cross_entropy', 'ctc_loss', 'dropout'),
        *('elu', 'gaussian_nll_loss', 'gelu', 'glu', 'hardshrink', 'hardsigmoid', 'hardswish'),
        *('hardtanh', 'hinge_embedding_loss', 'huber_loss', 'kl_div', 'l1_loss', 'layer_norm'),
        *('leaky_relu', 'leaky_relu_', 'linear', 'log_softmax', 'logsigmoid', 'max_pool1d'),
        *('margin_ranking_loss', 'max_pool2d', 'mish', 'mse_loss', 'multi_margin_loss'),
        *('multilabel_margin_loss', 'multilabel_soft_margin_loss', 'nll_loss', 'normalize'),
        *('one_hot', 'pairwise_distance', 'poisson_nll_loss', 'relu', 'relu6', 'relu_', 'selu'),
        *('sigmoid', 'silu', 'smooth_l1_loss', 'soft_margin_loss', 'softmax', 'softmin'),
        *('softplus', 'softshrink', 'softsign', 'tanh', 'tanhshrink', 'triplet_margin_loss'),
        *('triplet_margin_with_distance_loss',),
    ),
    'torch.nn.init': (
        *('constant_', 'dirac_', 'eye_', 'kaiming_normal_', 'kaiming_uniform_', 'normal_'),
        *('ones_', 'orthogonal_', 'sparse_', 'trunc_normal_', 'uniform_', 'xavier_normal_'),
        *('xavier_uniform_', 'zeros_'),
    ),
    'torch.nn.utils': ('clip_grad_norm_', 'clip_grad_value_'),
    'torch.optim.lr_scheduler': (
        *('CyclicLR._exp_range_scale_fn', 'CyclicLR._triangular2_scale_fn'),
        *('CyclicLR._triangular_scale_fn', 'OneCycleLR._annealing_cos'),
        *('OneCycleLR._annealing_linear',),
    ),
    'torch.utils.data': ('DataLoader', 'default_collate'),
}

_SPLITTERS = CLASSES['sklearn.model_selection']

# What skops does not trust by itself, by the names that it uses, which include private modules.
PARTS_OF_ESTIMATORS = frozenset(
    {
        'sklearn.calibration._CalibratedClassifier',
        'sklearn.calibration._SigmoidCalibration',
        'sklearn.metrics._scorer._MultimetricScorer',
        'sklearn.metrics._scorer._PassthroughScorer',
        'sklearn.metrics._scorer._Scorer',
        'sklearn.utils._bunch.Bunch',
    }
    | {f'sklearn.model_selection._split.{name}' for name in _SPLITTERS}
)
